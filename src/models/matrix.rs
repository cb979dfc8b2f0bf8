//! Rows of numbers of one width, as the fitting of models takes them. Must never hold a partial row.

/// Row-major; `NaN` stands for a missing value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    width: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// An empty matrix whose rows have `width` values, at least one.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), values: Vec::new() }
    }

    /// # Panics
    /// When the row has another width: a bug of the caller, which encodes all rows by one schema.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "a row of another width");
        self.values.extend_from_slice(row);
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..][..self.width]
    }
    /// All values, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }
    /// Puts rows of the same width behind these.
    ///
    /// # Panics
    /// When they have another width: a bug of the caller, as for [`Self::push`].
    pub fn append(&mut self, other: &Self) {
        assert_eq!(other.width, self.width, "rows of another width");
        self.values.extend_from_slice(&other.values);
    }
    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let mut chosen = Self::new(self.width);
        indices.into_iter().for_each(|index| chosen.push(self.row(index)));
        chosen
    }
}
