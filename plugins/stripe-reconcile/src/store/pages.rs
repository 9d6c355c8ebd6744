//! A list that grows by pages: what is in it never moves, and growing needs no second copy. A vector that doubles would need three
//! times its size at the worst moment, and a sandbox never gives memory back.

const PAGE_ITEMS: usize = 1 << 14;

/// Items in pages, addressed by position.
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
    len: u32,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> Pages<T> {
    /// Adds an item and answers with its position, or nothing when 32 bits of positions are used up.
    pub(crate) fn push(&mut self, item: T) -> Option<u32> {
        let at = self.len;
        self.len = at.checked_add(1)?;
        if (at as usize).is_multiple_of(PAGE_ITEMS) {
            self.pages.push(Vec::with_capacity(PAGE_ITEMS));
        }
        self.pages.last_mut()?.push(item);
        Some(at)
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.pages.get(at as usize / PAGE_ITEMS)?.get(at as usize % PAGE_ITEMS)
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.pages.get_mut(at as usize / PAGE_ITEMS)?.get_mut(at as usize % PAGE_ITEMS)
    }

    /// Every item with its position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.len).zip(self.pages.iter().flatten())
    }
}
