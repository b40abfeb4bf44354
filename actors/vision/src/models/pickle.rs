//! Files of `torch.save`, read without running anything: the legacy stream (before 1.6: five pickles, then the storages' raw
//! numbers) and the archive (a ZIP whose entries hold one pickle and the storages).
//!
//! A machine for the few opcodes that such a file of tensors uses (pickle protocol 2, Python's `pickletools`). Objects lie in
//! one table and refer to each other by number, so hostile nesting costs no stack; every opcode makes at most one object, so
//! memory is bounded by the file's length.

use super::ModelError;
use super::tensors::{Tensor, Tensors};
use super::weights::WeightFile;
use shaders::plan::Floats;
use std::collections::HashMap;
use std::ops::Range;

mod archive;

/// First pickle of the stream.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Second pickle of the stream.
const PROTOCOL: i64 = 1001;
/// Opcodes of one pickle; the default model has 12 thousand.
const OPCODES_MAX: usize = 1 << 20;
/// Axes of a tensor.
const AXES_MAX: usize = 8;

/// Reads all tensors of floats of the state dictionary.
pub(super) fn read(file: &WeightFile) -> Result<Tensors, ModelError> {
    let bytes = file.bytes();
    let (tensors, format) =
        if bytes.starts_with(b"PK\x03\x04") { (archive::read(bytes), "torch archive") } else { (stream(bytes), "legacy torch") };
    let tensors = tensors.map_err(|reason| ModelError::Format { format, reason })?;
    Ok(Tensors::new(file.clone(), tensors))
}

fn stream(bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    let mut reader = Reader { bytes, at: 0 };
    let magic = unpickle(&mut reader)?;
    if !matches!(magic.object(magic.result), Some(Object::Long(digits)) if *digits == MAGIC) {
        return Err("the magic number is missing".into());
    }
    if unpickle(&mut reader)?.result != Value::Int(PROTOCOL) {
        return Err(format!("the protocol is not {PROTOCOL}"));
    }
    let system = unpickle(&mut reader)?;
    if system.entries(system.result)?.iter().any(|(key, value)| system.text(*key) == Some("little_endian") && *value != Value::Bool(true)) {
        return Err("the numbers are not little-endian".into());
    }
    let state = unpickle(&mut reader)?;
    let keys = unpickle(&mut reader)?;
    let Some(Object::List(order)) = keys.object(keys.result) else { return Err("the list of storages is missing".into()) };
    let kinds = state.storages();
    let mut storages = HashMap::new();
    for key in order {
        let key = keys.text(*key).ok_or("a storage's key is not a text")?;
        let (kind, declared) = kinds.get(key).ok_or("a storage is listed that no tensor uses")?;
        let count = u64::from_le_bytes(reader.array()?);
        if count != *declared as u64 {
            return Err(format!("storage {key} holds {count} numbers, {declared} are declared"));
        }
        let length = declared.checked_mul(kind.bytes()).ok_or("a storage is too large")?;
        let start = reader.at;
        reader.take(length)?;
        storages.insert(key, (*kind, start..reader.at));
    }
    if reader.at != bytes.len() {
        return Err("bytes follow the last storage".into());
    }
    tensors(&state, &storages)
}

/// Tensors whose storage holds floats; others, such as counters, are left out.
fn tensors(state: &Pickle<'_>, storages: &HashMap<&str, (Kind, Range<usize>)>) -> Result<HashMap<String, Tensor>, String> {
    let entries = state.entries(state.result)?;
    // A training run's file holds the model's tensors under one of these names.
    let inner = |wanted: &str| entries.iter().find(|(name, _)| state.text(*name) == Some(wanted)).map(|(_, value)| *value);
    let inner = ["state_dict", "model", "model_state_dict", "state_dict_ema"].into_iter().find_map(inner);
    let entries = inner.and_then(|value| state.entries(value).ok()).unwrap_or(entries);
    let mut found = HashMap::new();
    // Views may share a storage; without a bound a small file could ask for any amount of memory.
    let mut room = 2 * storages.values().map(|(kind, range)| range.len() / kind.bytes()).sum::<usize>();
    for (name, value) in entries {
        let (Some(name), Some(Object::Tensor { storage, offset, shape, strides })) = (state.text(*name), state.object(*value)) else {
            return Err("the state holds something that is not a named tensor".into());
        };
        let Some(Object::Storage { key, .. }) = state.object(*storage) else { return Err(format!("{name} has no storage")) };
        let (kind, range) = storages.get(*key).ok_or_else(|| format!("the storage of {name} is missing"))?;
        if let Kind::Floats(floats) = *kind {
            let held = [range.start, range.len() / floats.bytes()];
            let tensor = Tensor::strided(shape.clone(), strides.clone(), floats, held, *offset);
            let tensor = tensor.map_err(|reason| format!("{name}: {reason}"))?;
            room = room.checked_sub(tensor.count()).ok_or("the tensors are much larger than the file")?;
            found.insert(name.to_owned(), tensor);
        }
    }
    Ok(found)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes[self.at..].get(..count).ok_or_else(|| format!("the file ends within {count} bytes at {}", self.at))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    /// Up to the next line feed, which is skipped.
    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(256).position(|byte| *byte == b'\n').ok_or("a name does not end")?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|_| "a name is not text")?;
        self.at += 1;
        Ok(line)
    }
}

/// What lies on the stack: small, copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    Object(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Kind),
}

/// What a storage's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Floats(Floats),
    /// Of that many bytes each.
    Other(usize),
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::Floats(floats) => floats.bytes(),
            Kind::Other(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
enum Object<'a> {
    Text(&'a str),
    /// Little-endian two's complement.
    Long(&'a [u8]),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Global(Global),
    Storage {
        key: &'a str,
        kind: Kind,
        count: usize,
    },
    Tensor {
        storage: Value,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    },
}

/// One unpickled value and the objects it refers to.
struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    result: Value,
}

impl<'a> Pickle<'a> {
    fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn text(&self, value: Value) -> Option<&'a str> {
        match self.object(value) {
            Some(Object::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn entries(&self, value: Value) -> Result<&[(Value, Value)], String> {
        match self.object(value) {
            Some(Object::Dict(entries)) => Ok(entries),
            _ => Err("a dictionary is missing".into()),
        }
    }

    fn tuple(&self, value: Value) -> Result<&[Value], String> {
        match self.object(value) {
            Some(Object::Tuple(values)) => Ok(values),
            _ => Err("a tuple is missing".into()),
        }
    }

    /// A tuple of sizes.
    fn sizes(&self, value: Value) -> Result<Vec<usize>, String> {
        let values = self.tuple(value)?;
        if values.len() > AXES_MAX {
            return Err(format!("a tensor has {} axes", values.len()));
        }
        values.iter().map(|value| size(*value)).collect()
    }

    /// Kind and length of each storage by its key.
    fn storages(&self) -> HashMap<&'a str, (Kind, usize)> {
        let each = self.objects.iter().filter_map(|object| match object {
            Object::Storage { key, kind, count } => Some((*key, (*kind, *count))),
            _ => None,
        });
        each.collect()
    }
}

fn size(value: Value) -> Result<usize, String> {
    match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| "a size is negative".into()),
        _ => Err("a size is not a number".into()),
    }
}

/// Reads one pickle up to its STOP.
fn unpickle<'a>(reader: &mut Reader<'a>) -> Result<Pickle<'a>, String> {
    let mut machine =
        Machine { pickle: Pickle { objects: vec![], result: Value::None }, stack: vec![], marks: vec![], memo: HashMap::new() };
    for _ in 0..OPCODES_MAX {
        let opcode = reader.byte()?;
        if opcode == b'.' {
            machine.pickle.result = machine.pop()?;
            return Ok(machine.pickle);
        }
        machine.step(opcode, reader)?;
    }
    Err(format!("more than {OPCODES_MAX} opcodes"))
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8, reader: &mut Reader<'a>) -> Result<(), String> {
        match opcode {
            0x80 => drop(reader.byte()?), // PROTO
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => self.stack.push(Value::Int(i64::from(reader.byte()?))),
            b'M' => self.stack.push(Value::Int(i64::from(u16::from_le_bytes(reader.array()?)))),
            // BINFLOAT: settings of a training run, which nothing here reads.
            b'G' => {
                reader.array::<8>()?;
                self.stack.push(Value::None);
            }
            b'J' => self.stack.push(Value::Int(i64::from(i32::from_le_bytes(reader.array()?)))),
            0x8a => {
                let length = reader.byte()?;
                let digits = reader.take(usize::from(length))?;
                self.push(Object::Long(digits));
            }
            b'X' => {
                let length = u32::from_le_bytes(reader.array()?);
                let text = std::str::from_utf8(reader.take(length as usize)?).map_err(|_| "a text is not UTF-8")?;
                self.push(Object::Text(text));
            }
            b'}' => self.push(Object::Dict(vec![])),
            b']' => self.push(Object::List(vec![])),
            b')' => self.push(Object::Tuple(vec![])),
            b't' => {
                let values = self.pop_mark()?;
                self.push(Object::Tuple(values));
            }
            0x85..=0x87 => {
                let values = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Object::Tuple(values));
            }
            b'q' => self.remember(u32::from(reader.byte()?))?,
            b'r' => self.remember(u32::from_le_bytes(reader.array()?))?,
            b'h' => self.recall(u32::from(reader.byte()?))?,
            b'j' => self.recall(u32::from_le_bytes(reader.array()?))?,
            b'a' | b'e' => {
                let values = if opcode == b'a' { self.pop_many(1)? } else { self.pop_mark()? };
                match self.top()? {
                    Object::List(list) => list.extend(values),
                    _ => return Err("something is appended to what is not a list".into()),
                }
            }
            b's' | b'u' => {
                let values = if opcode == b's' { self.pop_many(2)? } else { self.pop_mark()? };
                let (pairs, []) = values.as_chunks::<2>() else { return Err("a key has no value".into()) };
                match self.top()? {
                    Object::Dict(entries) => entries.extend(pairs.iter().map(|[key, value]| (*key, *value))),
                    _ => return Err("an item is set in what is not a dictionary".into()),
                }
            }
            // BUILD: attributes of the dictionary itself (version numbers of modules), which nothing here reads.
            b'b' => drop(self.pop()?),
            b'c' => self.global(reader.line()?, reader.line()?)?,
            b'R' => self.call()?,
            b'Q' => self.storage()?,
            _ => return Err(format!("opcode {opcode:#04x} at {} is not one of a file of tensors", reader.at - 1)),
        }
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.pickle.objects.len()));
        self.pickle.objects.push(object);
    }

    fn pop(&mut self) -> Result<Value, String> {
        Ok(self.pop_many(1)?[0])
    }

    /// The last `count` values, never reaching below a mark.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let first = self.stack.len().checked_sub(count).filter(|first| *first >= floor).ok_or("the stack is empty")?;
        Ok(self.stack.split_off(first))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Object<'a>, String> {
        match self.stack.last() {
            Some(Value::Object(index)) => self.pickle.objects.get_mut(*index).ok_or_else(|| "an object is missing".into()),
            _ => Err("an object is missing".into()),
        }
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("the stack is empty")?;
        self.memo.insert(key, *value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let value = self.memo.get(&key).ok_or("something is recalled that was never stored")?;
        self.stack.push(*value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::Storage(Kind::Floats(Floats::F32)),
            ("torch", "HalfStorage") => Global::Storage(Kind::Floats(Floats::F16)),
            ("torch", "BFloat16Storage") => Global::Storage(Kind::Floats(Floats::Bf16)),
            ("torch", "LongStorage" | "DoubleStorage") => Global::Storage(Kind::Other(8)),
            ("torch", "IntStorage") => Global::Storage(Kind::Other(4)),
            ("torch", "ByteStorage" | "CharStorage" | "BoolStorage") => Global::Storage(Kind::Other(1)),
            _ => return Err(format!("the file asks for {module}.{name}, which is not data")),
        };
        self.push(Object::Global(global));
        Ok(())
    }

    /// REDUCE: the only calls that a file of tensors makes.
    fn call(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        match self.pickle.object(callee) {
            Some(Object::Global(Global::OrderedDict)) if self.pickle.tuple(arguments)?.is_empty() => self.push(Object::Dict(vec![])),
            Some(Object::Global(Global::RebuildTensor)) => {
                let [storage, offset, shape, strides, ..] = self.pickle.tuple(arguments)? else {
                    return Err("a tensor is incomplete".into());
                };
                let (shape, strides) = (self.pickle.sizes(*shape)?, self.pickle.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return Err("a tensor has not one stride an axis".into());
                }
                let tensor = Object::Tensor { storage: *storage, offset: size(*offset)?, shape, strides };
                self.push(tensor);
            }
            Some(Object::Global(Global::RebuildParameter)) => {
                let tensor = *self.pickle.tuple(arguments)?.first().ok_or("a parameter is incomplete")?;
                self.stack.push(tensor);
            }
            _ => return Err("the file calls what is not known to it".into()),
        }
        Ok(())
    }

    /// BINPERSID: `("storage", kind, key, device, count)`, in the legacy stream with a view behind it.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let (&[tag, kind, key, _, count] | &[tag, kind, key, _, count, Value::None]) = self.pickle.tuple(id)? else {
            return Err("a storage is incomplete, or a view of another".into());
        };
        match (self.pickle.text(tag), self.pickle.object(kind), self.pickle.text(key)) {
            (Some("storage"), Some(Object::Global(Global::Storage(kind))), Some(key)) => {
                let (kind, count) = (*kind, size(count)?);
                self.push(Object::Storage { key, kind, count });
                Ok(())
            }
            _ => Err("a storage is not of a known kind".into()),
        }
    }
}

#[cfg(test)]
mod tests;
