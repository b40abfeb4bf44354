//! Groups of photos that must not be parted: equal bytes, nearly equal pictures of one kind, equal names.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What says that two photos are one.
#[derive(Hash, PartialEq, Eq)]
pub(super) enum Sign {
    /// The file's bytes.
    Bytes(u64),
    /// Which of the picture's neighbouring areas is lighter, and the kind of product.
    Looks(u64, String),
    /// The product's name, blanks and case aside.
    Name(String),
}

impl Sign {
    /// Of a file.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self::Bytes(hasher.finish())
    }

    /// Of a name; `None` where there is none.
    pub(super) fn name(name: &str) -> Option<Self> {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        (!name.is_empty() && name != "na").then_some(Self::Name(name))
    }
}

/// 64 bits of a picture (`[height, width, 3]`): of 8 rows of 9 areas, whether each is lighter than its right neighbour.
pub(super) fn difference_hash(width: usize, height: usize, rgb: &[u8]) -> u64 {
    let area = |row: usize, column: usize| -> f64 {
        let rows = row * height / 8..((row + 1) * height).div_ceil(8);
        let columns = column * width / 9..((column + 1) * width).div_ceil(9);
        let pixels = rows.len() * columns.len();
        let sum: u64 = rows
            .flat_map(|y| columns.clone().map(move |x| 3 * (y * width + x)))
            .map(|at| 299 * u64::from(rgb[at]) + 587 * u64::from(rgb[at + 1]) + 114 * u64::from(rgb[at + 2]))
            .sum();
        sum as f64 / pixels.max(1) as f64
    };
    let mut bits = 0;
    for row in 0..8 {
        let areas: Vec<f64> = (0..9).map(|column| area(row, column)).collect();
        areas.windows(2).for_each(|pair| bits = bits << 1 | u64::from(pair[0] > pair[1]));
    }
    bits
}

/// The group of each item, named by its first item: items that share a sign, directly or through others, are one group.
pub(super) fn groups(signs: &[Vec<Sign>]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..signs.len()).collect();
    let mut first: HashMap<&Sign, usize> = HashMap::new();
    for (item, signs) in signs.iter().enumerate() {
        for sign in signs {
            let other = *first.entry(sign).or_insert(item);
            let (a, b) = (root(&mut parents, item), root(&mut parents, other));
            parents[a.max(b)] = a.min(b);
        }
    }
    (0..signs.len()).map(|item| root(&mut parents, item)).collect()
}

fn root(parents: &mut [usize], mut item: usize) -> usize {
    while parents[item] != item {
        parents[item] = parents[parents[item]];
        item = parents[item];
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_join_through_others() {
        let name = |name| Sign::name(name).expect("a name");
        let signs = vec![
            vec![name("A  shirt"), Sign::bytes(b"1")],
            vec![name("b"), Sign::bytes(b"2")],
            vec![name("c"), Sign::bytes(b"1")],
            vec![name("C "), Sign::bytes(b"3")],
            vec![name("a shirt"), Sign::bytes(b"4")],
        ];
        assert_eq!(groups(&signs), [0, 1, 0, 0, 0]);
        assert!(Sign::name(" NA ").is_none() && Sign::name("").is_none());
    }

    #[test]
    fn the_hash_sees_the_picture_and_not_its_size() {
        let drawn = |width: usize, height: usize, invert: bool| -> Vec<u8> {
            (0..width * height).flat_map(|at| [if (at % width * 3 / width == 1) == invert { 200 } else { 20 }; 3]).collect()
        };
        let hash = |width, height, invert| difference_hash(width, height, &drawn(width, height, invert));
        assert_eq!(hash(90, 80, true), hash(180, 160, true));
        assert_ne!(hash(90, 80, true), hash(90, 80, false));
        assert_eq!(difference_hash(1, 1, &[9, 9, 9]), 0);
    }
}
