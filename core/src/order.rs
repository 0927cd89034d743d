//! Sorting by rank. One routine for all lists, and a plain one: each instance of the standard library's sort is 5 to 10 KB of the
//! Wasm.

use std::cmp::Ordering;

/// The items in ascending order of their ranks, which are compared number by number; equals stay in their order.
pub(crate) fn by_rank<T, const N: usize>(items: Vec<T>, rank: impl Fn(&T) -> [f64; N]) -> Vec<T> {
    let ranks: Vec<f64> = items.iter().flat_map(&rank).collect();
    let order = sorted((0..items.len()).collect(), &ranks, N);
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| items.get_mut(index)?.take()).collect()
}

/// Numbers in ascending order. They are counted as floats: from 2^53 on, neighbours count as equals.
#[expect(clippy::cast_precision_loss, reason = "as said")]
pub(crate) fn ascending(numbers: Vec<u64>) -> Vec<u64> {
    by_rank(numbers, |number| [*number as f64])
}

/// Merges neighbouring runs, which are sorted, to runs of twice the length, until there is one.
#[inline(never)]
fn sorted(mut order: Vec<usize>, ranks: &[f64], width: usize) -> Vec<usize> {
    let rank = |index: usize| ranks.iter().skip(index * width).take(width);
    let is_before = |a: usize, b: usize| {
        let numbers = rank(a).zip(rank(b)).map(|(a, b)| a.total_cmp(b));
        numbers.fold(Ordering::Equal, Ordering::then) == Ordering::Less
    };
    let mut length = 1;
    while length < order.len() {
        let mut merged = Vec::with_capacity(order.len());
        for runs in order.chunks(2 * length) {
            let (mut left, mut right) = runs.split_at(length.min(runs.len()));
            while let (Some((first, others)), Some((second, rest))) =
                (left.split_first(), right.split_first())
            {
                if is_before(*second, *first) {
                    merged.push(*second);
                    right = rest;
                } else {
                    merged.push(*first);
                    left = others;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        order = merged;
        length *= 2;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(items: Vec<(i8, u8)>, numbers: Vec<u32>) {
            let mut expected = items.clone();
            expected.sort_by_key(|(rank, _)| *rank);
            prop_assert_eq!(by_rank(items, |(rank, _)| [f64::from(*rank)]), expected);
            let numbers: Vec<u64> = numbers.into_iter().map(u64::from).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            prop_assert_eq!(ascending(numbers), expected);
        }
    }

    #[test]
    fn sorts_by_rank_and_keeps_equals_in_order() {
        let items = vec![("b", 1.0, 2.0), ("c", 1.0, 1.0), ("a", 0.0, 9.0), ("d", 1.0, 1.0)];
        let names: Vec<_> = by_rank(items, |item| [item.1, item.2]).into_iter().map(|item| item.0).collect();
        assert_eq!(names, ["a", "c", "d", "b"]);
        assert!(by_rank(Vec::<u8>::new(), |_| [0.0]).is_empty());
    }
}
