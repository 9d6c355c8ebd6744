//! What somebody thought of a task's result.

use super::NameError;

/// A rating, 1 (useless) to 5 (just right).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rating(u8);

impl Rating {
    /// From this rating on somebody counts as satisfied: the usual cut of customer satisfaction scores.
    pub const SATISFIED_FROM: u8 = 4;

    /// Checks a number.
    ///
    /// # Errors
    /// When it is not from 1 to 5.
    pub fn new(rating: u8) -> Result<Self, NameError> {
        if (1..=5).contains(&rating) { Ok(Self(rating)) } else { Err(NameError(format!("{rating} is no rating: 1 to 5"))) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_from_one_to_five() {
        assert_eq!([1, 5].map(|rating| Rating::new(rating).map(Rating::get)), [Ok(1), Ok(5)]);
        assert!(Rating::new(0).is_err() && Rating::new(6).is_err_and(|error| error.0.contains("1 to 5")));
    }
}
