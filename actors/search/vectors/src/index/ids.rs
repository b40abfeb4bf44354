//! The ids of the owners of a segment's rows, one behind the other.

use crate::file::FileError;

/// Why an id or a table of them is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ids of one segment have at most 4 GiB")]
pub(crate) struct IdsTooLong;

/// `[rows]` texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    /// Where each text ends.
    ends: Vec<u32>,
    text: String,
}

impl Ids {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { ends: Vec::with_capacity(rows), text: String::new() }
    }

    pub(crate) fn push(&mut self, id: &str) -> Result<(), IdsTooLong> {
        self.text.push_str(id);
        self.ends.push(u32::try_from(self.text.len()).map_err(|_| IdsTooLong)?);
        Ok(())
    }

    /// The id of a row's owner; empty for a row that is not there.
    pub(crate) fn get(&self, row: u32) -> &str {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0)) as usize;
        let end = self.ends.get(row).copied().unwrap_or(0) as usize;
        self.text.get(start..end).unwrap_or_default()
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>() + self.text.capacity()
    }

    /// As two sections: ends, text.
    pub(crate) fn sections(&self) -> (&[u8], &[u8]) {
        (bytemuck::cast_slice(&self.ends), self.text.as_bytes())
    }

    /// Back from two sections of a file.
    pub(crate) fn from_sections(path: &std::path::Path, rows: usize, ends: &[u8], text: Vec<u8>) -> Result<Self, FileError> {
        let ends: Vec<u32> = ends.chunks_exact(4).map(|end| end.try_into().map_or(0, u32::from_le_bytes)).collect();
        let text = String::from_utf8(text).map_err(|_| FileError::damaged(path, "ids are no text"))?;
        let is_ascending = ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let is_whole = ends.last().map_or(0, |end| *end as usize) == text.len();
        if ends.len() != rows || !is_ascending || !is_whole || !ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
            return Err(FileError::damaged(path, "ids do not fit their rows"));
        }
        Ok(Self { ends, text })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn ids_come_back_and_crooked_tables_do_not() {
        let texts = ["a", "", "päärynä", "x"];
        let mut ids = Ids::with_capacity(4);
        texts.iter().for_each(|text| ids.push(text).expect("short"));
        let (ends, text) = ids.sections();
        let again = Ids::from_sections(Path::new("f"), 4, ends, text.to_vec()).expect("whole");
        assert_eq!((0..4).map(|row| again.get(row)).collect::<Vec<_>>(), texts);
        assert_eq!((again.get(4), again.get(u32::MAX)), ("", ""));
        let cases: [(&str, usize, Vec<u32>, &[u8]); 5] = [
            ("rows", 3, vec![1, 1, 2, 3], b"abc"),
            ("order", 3, vec![2, 1, 3], b"abc"),
            ("length", 2, vec![1, 2], b"abc"),
            ("no text", 1, vec![1], b"\xff"),
            ("inside a character", 2, vec![1, 2], "ä".as_bytes()),
        ];
        for (name, rows, ends, text) in cases {
            let ends: Vec<u8> = ends.into_iter().flat_map(u32::to_le_bytes).collect();
            assert!(Ids::from_sections(Path::new("f"), rows, &ends, text.to_vec()).is_err(), "{name}");
        }
    }
}
