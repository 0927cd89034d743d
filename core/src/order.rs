//! Sorting by rank.

use std::cmp::Ordering;

/// Sorts items in ascending order of their ranks, number by number. The rank of each item is computed once; items of equal
/// rank keep their order.
pub(crate) fn by_rank<T, const N: usize>(items: Vec<T>, rank: impl Fn(&T) -> [f64; N]) -> Vec<T> {
    let mut ranked: Vec<([f64; N], T)> = items.into_iter().map(|item| (rank(&item), item)).collect();
    ranked.sort_by(|(left, _), (right, _)| {
        let numbers = left.iter().zip(right).map(|(left, right)| left.total_cmp(right));
        numbers.fold(Ordering::Equal, Ordering::then)
    });
    ranked.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_rank_and_keeps_equals_in_order() {
        let items = vec![("b", 1.0, 2.0), ("c", 1.0, 1.0), ("a", 0.0, 9.0), ("d", 1.0, 1.0)];
        let names: Vec<_> = by_rank(items, |item| [item.1, item.2]).into_iter().map(|item| item.0).collect();
        assert_eq!(names, ["a", "c", "d", "b"]);
        assert!(by_rank(Vec::<u8>::new(), |_| [0.0]).is_empty());
    }
}
