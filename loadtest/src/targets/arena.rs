//! Many short strings of octets in one allocation.

/// Strings by their number, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    /// Adds one.
    pub(super) fn push(&mut self, string: &[u8]) {
        self.octets.extend_from_slice(string);
        self.ends.push(self.octets.len());
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// One of them.
    #[inline]
    pub(super) fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.octets[start..self.ends[index]]
    }
}
