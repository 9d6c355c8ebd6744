//! Which column holds what: names from the header, with the other names they go by.

use super::Record;

/// Why a header cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Empty,
    Twice(String),
    /// None of these names is there.
    Missing(&'static [&'static str]),
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty: the first line has to name the columns"),
            Self::Twice(name) => write!(f, "names the column {name:?} twice: which one counts cannot be told"),
            Self::Missing([name]) => write!(f, "has no column {name:?}"),
            Self::Missing(names) => write!(f, "has none of the columns {}", names.join(", ")),
        }
    }
}

/// The names of the columns.
pub(crate) struct Columns(Vec<String>);

/// A column that is not there.
pub(crate) const ABSENT: usize = usize::MAX;

impl Columns {
    pub(crate) fn read(header: Option<Record<'_>>) -> Result<Self, HeaderError> {
        let header = header.ok_or(HeaderError::Empty)?;
        let names: Vec<String> = (0..header.len()).map(|at| String::from_utf8_lossy(header.cell(at)).trim().to_ascii_lowercase()).collect();
        for (at, name) in names.iter().enumerate() {
            if !name.is_empty() && names.iter().take(at).any(|before| before == name) {
                return Err(HeaderError::Twice(name.clone()));
            }
        }
        Ok(Self(names))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|column| column == name)
    }

    /// The column with the first of these names that is there, or [`ABSENT`].
    pub(crate) fn find(&self, names: &[&str]) -> usize {
        names.iter().find_map(|name| self.0.iter().position(|column| column == name)).unwrap_or(ABSENT)
    }

    /// The same, where it must be there.
    pub(crate) fn need(&self, names: &'static [&'static str]) -> Result<usize, HeaderError> {
        Some(self.find(names)).filter(|at| *at != ABSENT).ok_or(HeaderError::Missing(names))
    }
}
