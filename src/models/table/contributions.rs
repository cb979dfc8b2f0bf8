//! Why an alert: the columns of the table that speak loudest for or against it. Must never say anything of a row that it did not see.

use super::frame::Frame;
use super::model::TableModel;

/// A column, and what all that is encoded of it adds to the trees' log-odds of an attack.
pub type Contribution = (String, f32);

impl TableModel {
    /// The `most` columns that add or take most of a row's log-odds, the strongest first; those that add nothing are left out. `None`
    /// where the model has no trees. The frame must be one that was scored.
    #[must_use]
    pub fn contributions(&self, frame: &Frame, row: usize, most: usize) -> Option<Vec<Contribution>> {
        let encoded = self.schema.encode_some(frame, row..row + 1);
        let adds = self.scorers.contributions(encoded.row(0))?;
        let (mut columns, mut at) = (vec![], 0);
        for field in &self.schema.fields {
            let width = field.width();
            columns.push((field.name.clone(), adds[at..at + width].iter().sum::<f32>()));
            at += width;
        }
        columns.retain(|(_, adds)| adds.abs() > 0.0);
        columns.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        columns.truncate(most);
        Some(columns)
    }
}
