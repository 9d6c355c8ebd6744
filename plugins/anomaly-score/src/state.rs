//! What a scorer remembers, as bytes: little-endian numbers in a fixed order, so that a scorer read back goes on with the same bits.

/// A state that cannot be read: of another version, cut off, or not a state at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateError;

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this is not a state that this version wrote for a series like this; leave it out to start again")
    }
}

impl std::error::Error for StateError {}

/// Bytes in the making.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64s(&mut self, values: impl ExactSizeIterator<Item = f64>) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.for_each(|value| self.f64(value));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes being read, front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StateError)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, StateError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, StateError> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Result<f32, StateError> {
        self.take().map(f32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, StateError> {
        self.take().map(f64::from_le_bytes)
    }

    /// How many of something follow, at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, StateError> {
        usize::try_from(self.u32()?).ok().filter(|count| *count <= max).ok_or(StateError)
    }

    pub(crate) fn f64s(&mut self, max: usize) -> Result<Vec<f64>, StateError> {
        let count = self.count(max)?;
        (0..count).map(|_| self.f64()).collect()
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), StateError> {
        if self.0.is_empty() { Ok(()) } else { Err(StateError) }
    }
}
