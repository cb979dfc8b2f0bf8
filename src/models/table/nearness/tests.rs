//! Nearness of rows to known ones: what counts as near, and what of it is kept.
use super::*;

fn cloud(rows: usize, width: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let mut matrix = Matrix::new(width);
    let mut row = vec![0.0; width];
    for i in 0..rows {
        let shift = (i % 5) as f32 * 3.0;
        row.iter_mut().for_each(|v| *v = shift + (random.unit() + random.unit()) as f32);
        matrix.push(&row);
    }
    matrix
}

#[test]
fn the_nearest_row_is_the_one_that_a_look_at_all_finds() {
    let rows = cloud(1_000, 7, 1);
    let neighbours = Neighbours::of(&rows);
    let mut order = Vec::new();
    let mut looked_for = cloud(200, 7, 2);
    looked_for.push(&[50.0; 7]);
    looked_for.push(rows.row(17));
    for row in looked_for.iter() {
        let all = rows.iter().map(|other| libm::sqrtf(squared_distance(other, row))).fold(f32::INFINITY, f32::min);
        assert!((neighbours.nearest(row, &mut order) - all).abs() < 1e-5);
    }
}

#[test]
fn known_rows_are_near_and_others_are_not() {
    let mut rows = cloud(2_000, 5, 3);
    let mut attack = vec![false; 2_000];
    for row in cloud(500, 5, 4).iter() {
        rows.push(&row.iter().map(|v| v + 40.0).collect::<Vec<_>>());
        attack.push(true);
    }
    let held_out: Vec<usize> = (0..rows.rows()).filter(|row| row % 4 == 0).collect();
    let fitted: Vec<usize> = (0..rows.rows()).filter(|row| row % 4 != 0).collect();
    let of = |places: &[usize]| -> Vec<bool> { places.iter().map(|place| attack[*place]).collect() };
    let known = Known::fit(&rows.select(fitted.iter().copied()), &of(&fitted), 9);
    let distances = known.distances(&rows.select(held_out.iter().copied()));
    let nearness = Nearness::learn(&distances, &of(&held_out));
    let mut asked = rows.select([0, 2_000]);
    asked.push(&[1e4; 5]);
    asked.push(&[f32::NAN; 5]);
    let distances = known.distances(&asked);
    let near: Vec<Near> = distances.attacks.iter().zip(&distances.benign).map(|(a, b)| nearness.of(*a, *b)).collect();
    assert!(near[0].benign > 0.5 && near[0].attacks < 1e-6, "{near:?}");
    assert!(near[1].attacks > 0.5 && near[1].benign < 1e-6, "{near:?}");
    assert_eq!(near[2], Near::default(), "nothing known is like it");
    assert!(distances.attacks[3].is_finite() && distances.benign[3].is_finite());
}

#[test]
fn the_unit_of_a_column_and_one_that_does_not_vary_change_nothing() {
    let rows = cloud(400, 3, 5);
    let attack: Vec<bool> = (0..400).map(|i| i % 3 == 0).collect();
    let mut wider = Matrix::new(4);
    rows.iter().for_each(|row| wider.push(&[row[0], row[1], row[2], 1e7]));
    let (plain, with) = (Known::fit(&rows, &attack, 1).distances(&rows), Known::fit(&wider, &attack, 1).distances(&wider));
    for (a, b) in plain.attacks.iter().chain(&plain.benign).zip(with.attacks.iter().chain(&with.benign)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn bytes_come_back_and_damage_is_refused() {
    let rows = cloud(60, 3, 6);
    let attack: Vec<bool> = (0..60).map(|i| i % 4 == 0).collect();
    let known = Known::fit(&rows, &attack, 2);
    let mut out = Writer::default();
    known.write(&mut out);
    let bytes = out.finish();
    assert_eq!(Known::read(&mut Reader::new(&bytes)).unwrap(), known);
    for cut in 0..bytes.len() {
        assert!(Known::read(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
    }
    for at in (0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        // Whatever is accepted must answer without a panic.
        if let Ok(known) = Known::read(&mut Reader::new(&damaged))
            && known.width() == 3
        {
            assert_eq!(known.distances(&rows).attacks.len(), 60);
        }
    }
}
