//! Which cell belongs to which answer of which flag.

use alloc::sync::Arc;

use super::MAX_CELLS;

/// Where one answer of one flag is counted: the number of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell(u32);

impl Cell {
    /// Where it is only counted that there were answers, and not of which flag.
    pub const NONE: Cell = Cell(u32::MAX);

    pub(super) fn of(number: usize) -> Cell {
        u32::try_from(number).map_or(Cell::NONE, Cell)
    }

    #[inline]
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }
}

/// The first cell of a flag in three bytes, so that a compiled flag stays as small as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstCell([u8; 3]);

impl FirstCell {
    pub(crate) const NONE: FirstCell = FirstCell([u8::MAX; 3]);

    /// Of a number below [`MAX_CELLS`].
    fn of(number: u32) -> FirstCell {
        const { assert!(MAX_CELLS < 1 << 24, "three bytes suffice, and all ones are past the end") };
        let [a, b, c, _] = number.to_le_bytes();
        FirstCell([a, b, c])
    }

    /// The cell so many places on.
    #[inline]
    pub(crate) fn after(self, places: u16) -> Cell {
        let [a, b, c] = self.0;
        // Three bytes and two never make more than four.
        Cell(u32::from_le_bytes([a, b, c, 0]) + u32::from(places))
    }
}

/// Where the answers of one flag are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    pub(crate) first: FirstCell,
    pub(crate) variants: usize,
}

impl Cells {
    /// Where checks are counted that asked for the flag and got none of its variants.
    pub fn no_variant(self) -> Cell {
        u16::try_from(self.variants).map_or(Cell::NONE, |places| self.first.after(places))
    }

    pub(super) fn all(self) -> impl Iterator<Item = Cell> {
        let Cell(first) = self.first.after(0);
        let all = if first < MAX_CELLS { first..self.no_variant().0 + 1 } else { 0..0 };
        all.map(Cell)
    }
}

/// Which cells are taken in an environment.
#[derive(Clone, Default)]
pub(crate) struct Numbering {
    name: Arc<()>,
    next: u32,
}

impl Numbering {
    /// The first of as many cells as a flag of so many variants needs.
    pub(crate) fn next(&mut self, variants: usize) -> FirstCell {
        let Ok(variants) = u16::try_from(variants) else { return FirstCell::NONE };
        let first = self.next;
        let next = first + u32::from(variants) + 1;
        if next > MAX_CELLS {
            return FirstCell::NONE;
        }
        self.next = next;
        FirstCell::of(first)
    }

    /// How many cells were given out.
    pub(crate) fn given(&self) -> u32 {
        self.next
    }

    /// Whether both go back to the same beginning.
    pub(crate) fn is(&self, other: &Numbering) -> bool {
        Arc::ptr_eq(&self.name, &other.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn no_other_flag_has_the_cells_of_a_flag() {
        let mut numbering = Numbering::default();
        let mut free = 0;
        for variants in (1..64).cycle() {
            let first = numbering.next(variants);
            if first == FirstCell::NONE {
                break;
            }
            let cells: Vec<Cell> = Cells { first, variants }.all().collect();
            assert_eq!((cells.len(), cells[0].number()), (variants + 1, free));
            free = cells[variants].number() + 1;
        }
        assert!(free > MAX_CELLS as usize - 64 && free <= MAX_CELLS as usize, "{free}");
        assert_eq!(numbering.next(usize::from(u16::MAX) + 1), FirstCell::NONE);
    }
}
