//! What calls use and what that costs, for those who pay.

pub mod estimate;
pub mod price;
