//! Every variant of every shader is valid, and needs no more of a device than it says.

use crate::gpu::attention::Division;
use crate::gpu::gemm::{Left, VARIANTS, Variant};
use crate::gpu::source::{Precision, SHARED_BYTES_MAX, WORKGROUP_MAX};
use crate::gpu::{arrange, attend, attention, depthwise, elementwise, embed, gemm, layernorm, normalize, pool, probe, scale, stem, take};
use crate::{Activation, Pairwise, Position};
use wgpu::naga::{AddressSpace, Module, front::wgsl, valid};

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::F16];

/// Parses and validates; gives the bytes of workgroup memory.
fn check(name: &str, text: &str, precision: Precision, more: valid::Capabilities) -> usize {
    let module = wgsl::parse_str(text).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    let mut capabilities = more;
    if precision == Precision::F16 {
        capabilities |= valid::Capabilities::SHADER_FLOAT16;
    }
    let mut validator = valid::Validator::new(valid::ValidationFlags::all(), capabilities);
    if more.contains(valid::Capabilities::SUBGROUP) {
        validator.subgroup_stages(valid::ShaderStages::COMPUTE).subgroup_operations(valid::SubgroupOperationSet::all());
    }
    validator.validate(&module).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    assert_eq!(module.entry_points.len(), 1, "{name}");
    let size: u32 = module.entry_points[0].workgroup_size.iter().product();
    assert!(size as usize <= WORKGROUP_MAX, "{name} has {size} invocations");
    shared_bytes(&module)
}

fn shared_bytes(module: &Module) -> usize {
    let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    shared.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()) as usize).sum()
}

#[test]
fn products() {
    let lefts = [
        Left::Rows,
        Left::Window { kernel: 3, stride: 1 },
        Left::Pixels { kernel: 3, stride: 2, lines: false },
        Left::Pixels { kernel: 32, stride: 32, lines: true },
    ];
    for precision in PRECISIONS {
        for variant in VARIANTS {
            let cooperates = matches!(variant, Variant::Cooperative(_));
            if !variant.fits(precision, usize::MAX, true) {
                assert!(cooperates && precision == Precision::F32, "{}", variant.name());
                continue;
            }
            let capabilities = if cooperates { valid::Capabilities::COOPERATIVE_MATRIX } else { valid::Capabilities::empty() };
            for (left, activation, residual) in
                lefts.into_iter().flat_map(|left| Activation::ALL.map(|activation| (left, activation, activation != Activation::Relu6)))
            {
                let text = gemm::source(variant, precision, left, activation, residual);
                let bytes = check(&format!("{} {left:?}", variant.name()), &text, precision, capabilities);
                assert_eq!(bytes, variant.shared_bytes(), "{}", variant.name());
            }
        }
    }
    let plain = VARIANTS.iter().filter(|variant| variant.fits(Precision::F32, SHARED_BYTES_MAX, false));
    assert!(plain.count() >= 6, "enough variants for the smallest device");
}

#[test]
fn the_other_kernels() {
    let none = valid::Capabilities::empty();
    for precision in PRECISIONS {
        for activation in Activation::ALL {
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (1, 1), (9, 3)] {
                let text = depthwise::source(precision, kernel, stride, activation);
                assert_eq!(check(&format!("depthwise {kernel} {stride}"), &text, precision, none), 0);
            }
        }
        for subgroup in [None, Some(8), Some(32), Some(64)] {
            let more = if subgroup.is_some() { valid::Capabilities::SUBGROUP } else { none };
            assert!(check("layernorm", &layernorm::source(precision, subgroup), precision, more) <= SHARED_BYTES_MAX);
            assert!(check("normalize", &normalize::source(precision, subgroup), precision, more) <= SHARED_BYTES_MAX);
        }
        assert!(check("mean", &pool::source(precision), precision, none) <= SHARED_BYTES_MAX);
        for (kernel, columns) in [(1, 8), (3, 32), (3, 24), (5, 80)] {
            let text = stem::source(precision, kernel, 2, columns, Activation::Relu6);
            assert!(check("stem", &text, precision, none) <= SHARED_BYTES_MAX);
        }
        check("embed", &embed::source(precision), precision, none);
        check("scale", &scale::source(precision), precision, none);
        for position in [Position::First, Position::Last] {
            check("take", &take::source(precision, position), precision, none);
        }
        for (around, places) in [([0, 0], false), ([0, 0], true), ([1, 0], false), ([1, 100], true)] {
            check("arrange", &arrange::source(precision, around, places), precision, none);
        }
        for head_width in [1, 64, 144, 1024] {
            assert!(check("attend", &attend::source(precision, head_width), precision, none) <= SHARED_BYTES_MAX);
        }
        check("probe of arithmetic", &probe::fma_source(precision, 4), precision, none);
        for function in [Pairwise::Add, Pairwise::Multiply] {
            check("pairwise", &elementwise::source(precision, function), precision, none);
        }
    }
}

#[test]
fn probes() {
    check("probe of memory", &probe::copy_source(), Precision::F32, valid::Capabilities::empty());
    check("probe of matrices", &probe::cooperative_source(4), Precision::F16, valid::Capabilities::COOPERATIVE_MATRIX);
}

#[test]
fn attention_of_any_head() {
    for precision in PRECISIONS {
        for head_width in [1, 7, 24, 32, 64, 72, 80, 128, 160] {
            let division = Division::new(head_width, precision, SHARED_BYTES_MAX).expect("fits the smallest device");
            for causal in [false, true] {
                let text = attention::source(precision, division, head_width % 4 == 0, causal);
                let bytes = check(&format!("attention {head_width}"), &text, precision, valid::Capabilities::empty());
                assert!(bytes <= SHARED_BYTES_MAX, "{head_width}: {bytes}");
            }
        }
    }
    assert_eq!(Division::new(4096, Precision::F16, usize::MAX), None);
    assert_eq!(Division::new(200, Precision::F32, SHARED_BYTES_MAX), None);
    assert!(Division::new(512, Precision::F32, 3 * SHARED_BYTES_MAX).is_some());
}

#[test]
fn attention_by_cooperative_matrices() {
    for length in attention::LENGTHS {
        for head_width in [16, 32, 64, 80, 128] {
            for causal in [false, true] {
                let text = attention::cooperative_source(length, head_width, causal);
                let bytes = check(&format!("attention {head_width}"), &text, Precision::F16, valid::Capabilities::COOPERATIVE_MATRIX);
                assert_eq!(Some(bytes), attention::cooperative_bytes(length, head_width));
            }
        }
    }
    assert!(attention::cooperative_bytes(64, 64).is_some_and(|bytes| bytes <= 3 * SHARED_BYTES_MAX));
    assert_eq!((attention::cooperative_bytes(64, 24), attention::cooperative_bytes(64, 144)), (None, None));
}

#[test]
fn halves_and_cooperative_matrices_are_refused_where_the_device_lacks_them() {
    let refused = |text: &str, capabilities| {
        let module = wgsl::parse_str(text).expect("it parses");
        valid::Validator::new(valid::ValidationFlags::all(), capabilities).validate(&module).is_err()
    };
    assert!(refused(&pool::source(Precision::F16), valid::Capabilities::empty()));
    let cooperative = VARIANTS.into_iter().find(|variant| matches!(variant, Variant::Cooperative(_))).expect("there is one");
    let text = gemm::source(cooperative, Precision::F16, Left::Rows, Activation::None, false);
    assert!(refused(&text, valid::Capabilities::SHADER_FLOAT16));
}
