//! Which variant of a kernel is used where: what the self-test has passed, in the order that measurements or, without them,
//! plain rules give.

use super::device::Device;
use super::gemm::{VARIANTS, Variant};
use super::source::Precision;
use std::collections::BTreeMap;

/// Products that one choice stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class {
    /// Numbers of a row of the left side.
    pub(crate) depth: usize,
    /// Numbers of a row of the result.
    pub(crate) columns: usize,
    /// Rows, as the power of two that is not below.
    pub(crate) rows_power: u32,
}

impl Class {
    pub(crate) fn new(rows: usize, depth: usize, columns: usize) -> Class {
        Class { depth, columns, rows_power: rows.max(1).next_power_of_two().trailing_zeros() }
    }
}

/// A choice that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) variant: Variant,
    /// Of one dispatch.
    pub(crate) seconds: f64,
}

/// The choices of one device in one precision.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// What the device can run and has passed its test.
    pub(crate) variants: Vec<Variant>,
    /// Invocations that share a row in a reduction by subgroup operations; `None`: through workgroup memory.
    pub(crate) subgroup: Option<usize>,
    /// Whether attention over few positions uses cooperative matrices.
    pub(crate) cooperative_attention: bool,
    pub(crate) measured: BTreeMap<Class, Measured>,
    /// A program on the CPU gains nothing from workgroup memory.
    software: bool,
}

/// Workgroups below which a large device has idle processors.
const BUSY_WORKGROUPS: usize = 128;

impl Choices {
    /// What the device can run, before any test.
    pub(crate) fn new(device: &Device, precision: Precision) -> Choices {
        let shared_bytes = device.device.limits().max_compute_workgroup_storage_size as usize;
        let variants = VARIANTS.into_iter().filter(|variant| variant.fits(precision, shared_bytes, device.cooperative)).collect();
        let subgroup = device.subgroup.filter(|size| (4..=128).contains(size));
        let cooperative_attention = device.cooperative && precision == Precision::F16;
        Choices { variants, subgroup, cooperative_attention, measured: BTreeMap::new(), software: !device.info.hardware }
    }

    /// The variant for a product.
    pub(crate) fn variant(&self, rows: usize, depth: usize, columns: usize) -> Variant {
        let class = Class::new(rows, depth, columns);
        let near = |low: u32, high: u32| {
            let range = Class { rows_power: low, ..class }..=Class { rows_power: high, ..class };
            self.measured.range(range).map(|(class, measured)| (*class, measured.variant)).collect::<Vec<_>>()
        };
        let nearest = near(0, 63).into_iter().filter(|(_, variant)| self.variants.contains(variant) && variant.suits(rows));
        let nearest = nearest.min_by_key(|(other, _)| other.rows_power.abs_diff(class.rows_power));
        nearest.map_or_else(|| self.rule(rows, columns), |(_, variant)| variant)
    }

    /// Without a measurement.
    fn rule(&self, rows: usize, columns: usize) -> Variant {
        let kind = |wanted: fn(&Variant) -> bool| self.variants.iter().copied().filter(wanted);
        let few = kind(|variant| matches!(variant, Variant::Few { .. })).find(|variant| rows <= 2 * variant.tile()[0]);
        let direct = || kind(|variant| matches!(variant, Variant::Direct { .. })).next_back();
        if self.software {
            return few.filter(|_| rows <= 2).or_else(direct).or(self.variants.first().copied()).unwrap_or(VARIANTS[0]);
        }
        let largest = |wanted: fn(&Variant) -> bool| {
            let mut fitting: Vec<Variant> = kind(wanted).collect();
            fitting.sort_by_key(|variant| std::cmp::Reverse(variant.tile().iter().product::<usize>()));
            fitting.iter().copied().find(|variant| variant.tiles(rows, columns)[0] >= BUSY_WORKGROUPS).or(fitting.last().copied())
        };
        let cooperative = || largest(|variant| matches!(variant, Variant::Cooperative(_)) && !variant.is_column());
        let tiled = || largest(|variant| matches!(variant, Variant::Tiled { .. }));
        few.or_else(cooperative).or_else(tiled).or_else(direct).unwrap_or(VARIANTS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(software: bool) -> Choices {
        Choices { variants: VARIANTS.to_vec(), subgroup: None, cooperative_attention: false, measured: BTreeMap::new(), software }
    }

    #[test]
    fn measurements_go_before_rules_and_the_nearest_counts() {
        let mut choices = choices(false);
        let by_rule = choices.variant(4096, 64, 64);
        let slow = VARIANTS[1];
        assert_ne!(by_rule, slow);
        choices.measured.insert(Class::new(1024, 64, 64), Measured { variant: slow, seconds: 1.0 });
        assert_eq!(choices.variant(4096, 64, 64), slow);
        assert_eq!(choices.variant(4096, 72, 64), by_rule);
        choices.measured.insert(Class::new(5000, 64, 64), Measured { variant: VARIANTS[2], seconds: 1.0 });
        assert_eq!(choices.variant(4096, 64, 64), VARIANTS[2]);
        choices.variants.retain(|variant| *variant == by_rule);
        assert_eq!(choices.variant(4096, 64, 64), by_rule, "what failed its test is not used, however fast");
    }

    #[test]
    fn rules_use_many_workgroups_and_few_rows_alike() {
        assert!(matches!(choices(false).variant(1, 384, 384), Variant::Few { rows: 1 }));
        assert!(matches!(choices(false).variant(100_000, 96, 1152), Variant::Cooperative(_)));
        assert!(matches!(choices(true).variant(100, 96, 1152), Variant::Direct { .. }));
    }
}
