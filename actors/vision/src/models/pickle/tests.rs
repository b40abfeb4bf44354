//! A small sound file, and what damage does to it.

use super::*;
use proptest::prelude::*;

/// A pickle of protocol 2 around `body`.
fn pickle(body: &[u8]) -> Vec<u8> {
    [&b"\x80\x02"[..], body, b"."].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// `OrderedDict([(name, view of six floats 0..6 as `shape` with `strides`)])` in the legacy stream.
fn file(shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let sizes = |sizes: &[u8]| [&b"("[..], &sizes.iter().flat_map(|size| [b'K', *size]).collect::<Vec<_>>(), b"t"].concat();
    let storage = [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("7"), &text("cpu"), b"K\x06NtQ"].concat();
    let tensor = [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage, b"K\x00", &sizes(shape), &sizes(strides), b"\x89}tR"].concat();
    let state = [&b"ccollections\nOrderedDict\n)R("[..], &text("w"), &tensor, b"u}b"].concat();
    let system = [&b"}"[..], &text("little_endian"), b"\x88s"].concat();
    let keys = [&b"]"[..], &text("7"), b"a"].concat();
    let magic = [&b"\x8a\x0a"[..], &MAGIC].concat();
    let numbers: Vec<u8> = (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect();
    let pickles = [&magic[..], b"M\xe9\x03", &system, &state, &keys].map(pickle).concat();
    [pickles, 6u64.to_le_bytes().to_vec(), numbers].concat()
}

fn reason(bytes: &[u8]) -> String {
    stream(bytes).err().expect("refused")
}

#[test]
fn a_strided_view_is_put_in_order() {
    let mut tensors = read(&file(&[2, 3], &[1, 2]).into()).expect("sound");
    assert_eq!(tensors.take("w", &[2, 3]).expect("there"), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
}

#[test]
fn views_beyond_their_storage_are_refused() {
    for (shape, strides) in [(&[7][..], &[1][..]), (&[2, 3], &[3, 2]), (&[255, 255], &[0, 0])] {
        assert!(reason(&file(shape, strides)).contains("reaches beyond its storage"), "{shape:?}");
    }
    assert!(reason(&file(&[2], &[1, 1])).contains("one stride an axis"));
}

#[test]
fn what_is_not_data_is_refused() {
    let call = pickle(b"cos\nsystem\n(X\x02\x00\x00\x00lstR");
    assert!(reason(&call).contains("os.system, which is not data"), "{}", reason(&call));
    assert!(reason(b"").contains("ends"));
    assert!(reason(&pickle(b"K\x01")).contains("magic number"));
    assert!(reason(b"PK\x03\x04").contains("opcode 0x50"));
    let good = file(&[6], &[1]);
    assert!(reason(&[&good[..], b"x"].concat()).contains("follow the last storage"));
    for cut in 0..good.len() {
        assert!(stream(&good[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Damage anywhere gives an error or other numbers, never a panic.
    #[test]
    fn damage_never_panics(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = file(&[2, 3], &[1, 2]);
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = stream(&bytes);
    }

    #[test]
    fn any_opcodes_never_panic(body in prop::collection::vec(prop::sample::select(&b"(NKMJX}])taesubqrhjcRQ.\x85\x86\x87\x88\x89\x8a\x00\x01\n"[..]), 0..200)) {
        let _ = unpickle(&mut Reader { bytes: &body, at: 0 });
    }
}

/// An archive as `torch.save` writes it: a view of six floats.
fn archive(files: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(format!("model/{name}"), zip::write::SimpleFileOptions::default().compression_method(method)).expect("an entry");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("an archive").into_inner()
}

fn archived(kind: &str, numbers: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let class = format!("ctorch\n{kind}\n").into_bytes();
    let storage = [&b"("[..], &text("storage"), &class, &text("0"), &text("cpu"), b"K\x06tQ"].concat();
    let tensor = [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage, b"K\x00K\x02K\x03\x86K\x01K\x02\x86\x89}tR"].concat();
    let parameter = [&b"ctorch._utils\n_rebuild_parameter\n("[..], &tensor, b"\x88}tR"].concat();
    let state = [&b"}("[..], &text("w"), &parameter, b"u"].concat();
    let outer = [&b"}("[..], &text("epoch"), b"G\0\0\0\0\0\0\0\0", &text("state_dict"), &state, b"u"].concat();
    vec![("data.pkl", pickle(&outer)), ("byteorder", b"little".to_vec()), ("data/0", numbers), ("version", b"3\n".to_vec())]
}

fn six_floats() -> Vec<u8> {
    (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect()
}

#[test]
fn an_archive_is_read_in_each_precision() {
    let stored = zip::CompressionMethod::Stored;
    let halves = |of: fn(f32) -> [u8; 2]| (0..6).flat_map(|number| of(number as f32)).collect::<Vec<u8>>();
    let cases = [
        ("FloatStorage", six_floats()),
        ("HalfStorage", halves(|number| half::f16::from_f32(number).to_le_bytes())),
        ("BFloat16Storage", halves(|number| half::bf16::from_f32(number).to_le_bytes())),
    ];
    for (kind, numbers) in cases {
        let mut tensors = read(&archive(&archived(kind, numbers), stored).into()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(tensors.take("w", &[2, 3]).expect("there"), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0], "{kind}");
    }
    let integers = read(&archive(&archived("LongStorage", vec![0; 48]), stored).into()).expect("read");
    assert!(!integers.has("w"), "counters are left out");
}

#[test]
fn archives_that_are_not_sound_are_refused() {
    let stored = zip::CompressionMethod::Stored;
    let reason = |files: &[(&str, Vec<u8>)], method| read(&archive(files, method).into()).err().expect("refused").to_string();
    let good = archived("FloatStorage", six_floats());
    assert!(reason(&good, zip::CompressionMethod::Deflated).contains("compressed"));
    assert!(reason(&good[1..], stored).contains("data.pkl is missing"));
    assert!(reason(&[good[0].clone()], stored).contains("storage 0 is missing"));
    assert!(reason(&archived("FloatStorage", vec![0; 20]), stored).contains("is cut"));
    assert!(reason(&[("data.pkl", pickle(b"cos\nsystem\n(X\x02\x00\x00\x00lstR"))], stored).contains("os.system, which is not data"));
    let mut big = good.clone();
    big[1].1 = b"big".to_vec();
    assert!(reason(&big, stored).contains("little-endian"));
    let whole = archive(&good, stored);
    for cut in (0..whole.len()).step_by(7) {
        assert!(read(&whole[..cut].to_vec().into()).is_err(), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damage_of_an_archive_never_panics(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = archive(&archived("FloatStorage", six_floats()), zip::CompressionMethod::Stored);
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes.into());
    }
}
