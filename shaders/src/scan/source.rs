//! The text of the scan's shader: `wgsl/scan_topk.wgsl` behind the constants of one shape and the reader of one row type.

use super::{K_MAX, SCORE_LOWEST};

const BODY: &str = include_str!("../../wgsl/scan_topk.wgsl");

/// Invocations of a workgroup; also the rows of a block, each invocation scoring one.
pub(super) const WORKGROUP: usize = 64;

/// Workgroup storage that every Vulkan device has, in bytes.
const WORKGROUP_BYTES_MAX: usize = 16 << 10;

/// How much of the chip one query's list takes, and so how many queries share the reading of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Queries of a group.
    pub(super) queries: usize,
    /// Entries that a query's list has room for: a power of two, since the list is sorted by a bitonic network.
    pub(super) slots: usize,
    /// Results that the list can hold while a whole block may be added.
    pub(super) k_max: usize,
}

/// The usual case first.
pub(super) const SHAPES: [Shape; 2] = [Shape { queries: 8, slots: 128, k_max: 32 }, Shape { queries: 4, slots: 256, k_max: K_MAX }];

const _: () = {
    assert!(WORKGROUP.is_multiple_of(32), "a block's bits are whole words");
    let mut index = 0;
    while index < SHAPES.len() {
        let Shape { queries, slots, k_max } = SHAPES[index];
        assert!(slots.is_power_of_two() && k_max + WORKGROUP <= slots, "a full list has room for a block");
        // A score and a row for each slot; a count and a bound for each query; three words besides.
        assert!(queries * (slots * 8 + 12) + 12 <= WORKGROUP_BYTES_MAX);
        assert!(queries <= WORKGROUP, "an invocation looks after each query");
        index += 1;
    }
    assert!(SHAPES[SHAPES.len() - 1].k_max == K_MAX, "some shape fits every request");
};

/// How the shader reads a row's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowType {
    /// As f16, where the device has the type.
    Native,
    /// As pairs in u32, unpacked by an instruction that every device has.
    Packed,
}

impl RowType {
    fn reader(self) -> &'static str {
        match self {
            RowType::Native => "alias Piece = vec4<f16>;\nfn widen(piece: Piece) -> vec4<f32> { return vec4<f32>(piece); }\n",
            RowType::Packed => {
                "alias Piece = vec2<u32>;\n\
                 fn widen(piece: Piece) -> vec4<f32> { return vec4<f32>(unpack2x16float(piece.x), unpack2x16float(piece.y)); }\n"
            }
        }
    }
}

/// The whole shader.
pub(super) fn source(shape: Shape, row_type: RowType) -> String {
    let Shape { queries, slots, .. } = shape;
    let mut text = String::with_capacity(BODY.len() * 2);
    if row_type == RowType::Native {
        text.push_str("enable f16;\n");
    }
    text.push_str(&format!(
        "const WORKGROUP = {WORKGROUP}u;\nconst QUERIES = {queries}u;\nconst SLOTS = {slots}u;\nconst SCORE_LOWEST = {SCORE_LOWEST:?}f;\n"
    ));
    text.push_str(row_type.reader());
    for line in BODY.lines() {
        let copies = if line.contains("{q}") && !line.starts_with("//") { queries } else { 1 };
        for q in 0..copies {
            text.push_str(&line.replace("{q}", &q.to_string()));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::naga::{front::wgsl, valid};

    #[test]
    fn every_variant_is_valid_and_needs_no_more_than_it_says() {
        for shape in SHAPES {
            for (row_type, capabilities) in
                [(RowType::Native, valid::Capabilities::SHADER_FLOAT16), (RowType::Packed, valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32)]
            {
                let text = source(shape, row_type);
                let module = wgsl::parse_str(&text).unwrap_or_else(|error| panic!("{shape:?}: {}", error.emit_to_string(&text)));
                let mut validator = valid::Validator::new(valid::ValidationFlags::all(), capabilities);
                validator.validate(&module).unwrap_or_else(|error| panic!("{shape:?}: {}", error.emit_to_string(&text)));
                let names: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
                assert_eq!(names, ["scan", "merge"]);
                assert!(module.entry_points.iter().all(|entry| entry.workgroup_size == [WORKGROUP as u32, 1, 1]));
            }
        }
    }

    #[test]
    fn a_group_has_a_sum_for_each_query() {
        for shape in SHAPES {
            let text = source(shape, RowType::Packed);
            assert_eq!(text.matches("= vec4<f32>();").count(), shape.queries);
            assert!(text.lines().filter(|line| line.contains("{q}")).all(|line| line.starts_with("//")));
        }
    }

    #[test]
    fn the_native_type_is_refused_where_the_device_lacks_it() {
        let module = wgsl::parse_str(&source(SHAPES[0], RowType::Native)).expect("it parses");
        let mut validator = valid::Validator::new(valid::ValidationFlags::all(), valid::Capabilities::empty());
        assert!(validator.validate(&module).is_err());
    }
}
