//! An ONNX file as plain data: graph, nodes, attributes, tensors (onnx.proto3 of ONNX 1.17). Numbers stay where the file has them.

use super::wire::{Message, Wire};
use std::collections::HashMap;

/// Greatest number of nodes; a large encoder has some thousands.
const NODES_MAX: usize = 100_000;
/// Greatest number of axes of a tensor.
pub(super) const AXES_MAX: usize = 12;

type Result<T> = std::result::Result<T, &'static str>;

/// One model.
#[derive(Debug, Default)]
pub(super) struct File<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: HashMap<&'a str, Tensor<'a>>,
    pub(super) inputs: Vec<Input<'a>>,
    pub(super) outputs: Vec<&'a str>,
    /// Of the standard operators.
    pub(super) opset: i64,
}

/// What is fed to a model.
#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    /// `None` where an axis is free.
    pub(super) shape: Vec<Option<usize>>,
}

/// One operation.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) operator: &'a str,
    pub(super) domain: &'a str,
    /// Empty names stand for inputs that are left out.
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    attributes: HashMap<&'a str, Attribute<'a>>,
}

#[derive(Debug, Default)]
struct Attribute<'a> {
    float: Option<f32>,
    int: Option<i64>,
    text: Option<&'a str>,
    tensor: Option<Tensor<'a>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
}

/// Numbers as the file has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Vec<usize>,
    pub(super) kind: i64,
    pub(super) raw: Option<&'a [u8]>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    pub(super) doubles: Vec<f64>,
    /// File name, offset and length where the numbers lie in another file.
    pub(super) external: Option<External<'a>>,
}

/// Where a tensor's numbers lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct External<'a> {
    pub(super) file: &'a str,
    pub(super) offset: u64,
    pub(super) length: Option<u64>,
}

impl<'a> File<'a> {
    /// Reads a model.
    pub(super) fn read(bytes: &'a [u8]) -> Result<File<'a>> {
        let (mut file, mut has_graph) = (File::default(), false);
        let mut model = Message::new(bytes);
        while let Some((number, wire)) = model.next()? {
            match number {
                7 => {
                    file.graph(wire.bytes()?)?;
                    has_graph = true;
                }
                8 => {
                    let (mut domain, mut version) = ("", 0);
                    each(wire, |number, wire| {
                        match number {
                            1 => domain = wire.text()?,
                            2 => version = wire.int()?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    if domain.is_empty() || domain == "ai.onnx" {
                        file.opset = version;
                    }
                }
                _ => {}
            }
        }
        if has_graph && !file.outputs.is_empty() { Ok(file) } else { Err("it holds no graph") }
    }

    fn graph(&mut self, bytes: &'a [u8]) -> Result<()> {
        each(Wire::Bytes(bytes), |number, wire| {
            match number {
                1 if self.nodes.len() >= NODES_MAX => return Err("it has too many nodes"),
                1 => self.nodes.push(Node::read(wire)?),
                5 => {
                    let tensor = Tensor::read(wire)?;
                    self.initializers.insert(tensor.name, tensor);
                }
                11 => self.inputs.push(Input::read(wire)?),
                12 => self.outputs.push(Input::read(wire)?.name),
                15 => return Err("sparse tensors are not read"),
                _ => {}
            }
            Ok(())
        })?;
        // Older files list the initializers among the inputs.
        self.inputs.retain(|input| !self.initializers.contains_key(input.name));
        Ok(())
    }
}

impl<'a> Input<'a> {
    fn read(wire: Wire<'a>) -> Result<Input<'a>> {
        let mut input = Input::default();
        each(wire, |number, wire| {
            match number {
                1 => input.name = wire.text()?,
                2 => each(wire, |number, wire| if number == 1 { input.tensor_type(wire) } else { Ok(()) })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(input)
    }

    fn tensor_type(&mut self, wire: Wire<'a>) -> Result<()> {
        each(wire, |number, wire| match number {
            2 => each(wire, |number, wire| if number == 1 { self.axis(wire) } else { Ok(()) }),
            _ => Ok(()),
        })
    }

    fn axis(&mut self, wire: Wire<'a>) -> Result<()> {
        let mut size = None;
        each(wire, |number, wire| {
            if number == 1 {
                size = usize::try_from(wire.int()?).ok().filter(|size| *size > 0);
            }
            Ok(())
        })?;
        if self.shape.len() >= AXES_MAX {
            return Err("an input has too many axes");
        }
        self.shape.push(size);
        Ok(())
    }
}

impl<'a> Node<'a> {
    fn read(wire: Wire<'a>) -> Result<Node<'a>> {
        let mut node = Node::default();
        each(wire, |number, wire| {
            match number {
                1 => node.inputs.push(wire.text()?),
                2 => node.outputs.push(wire.text()?),
                3 => node.name = wire.text()?,
                4 => node.operator = wire.text()?,
                5 => {
                    let (name, attribute) = Attribute::read(wire)?;
                    node.attributes.insert(name, attribute);
                }
                7 => node.domain = wire.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(node)
    }

    /// The input's name, where it has one.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        self.inputs.get(index).copied().filter(|name| !name.is_empty())
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attributes.get(name)?.int
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attributes.get(name)?.float
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.attributes.get(name)?.text
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.get(name).map(|attribute| &attribute.ints[..])
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attributes.get(name).map(|attribute| &attribute.floats[..])
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.attributes.get(name)?.tensor.as_ref()
    }
}

impl<'a> Attribute<'a> {
    fn read(wire: Wire<'a>) -> Result<(&'a str, Attribute<'a>)> {
        let (mut name, mut attribute) = ("", Attribute::default());
        each(wire, |number, wire| {
            match number {
                1 => name = wire.text()?,
                2 => attribute.float = Some(wire.float()?),
                3 => attribute.int = Some(wire.int()?),
                // Some attributes hold bytes that are no text; nothing here reads them.
                4 => attribute.text = wire.text().ok(),
                5 => attribute.tensor = Some(Tensor::read(wire)?),
                7 => wire.floats(&mut attribute.floats)?,
                8 => wire.ints(&mut attribute.ints)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok((name, attribute))
    }
}

impl<'a> Tensor<'a> {
    fn read(wire: Wire<'a>) -> Result<Tensor<'a>> {
        let (mut tensor, mut shape) = (Tensor::default(), vec![]);
        each(wire, |number, wire| {
            match number {
                1 => wire.ints(&mut shape)?,
                2 => tensor.kind = wire.int()?,
                3 => return Err("a tensor lies in segments"),
                4 => wire.floats(&mut tensor.floats)?,
                5 | 7 | 11 => wire.ints(&mut tensor.ints)?,
                8 => tensor.name = wire.text()?,
                9 => tensor.raw = Some(wire.bytes()?),
                10 => {
                    let (numbers, []) = wire.bytes()?.as_chunks() else { return Err("a list of doubles is cut") };
                    tensor.doubles.extend(numbers.iter().map(|number| f64::from_le_bytes(*number)));
                }
                13 => tensor.external.get_or_insert_default().entry(wire)?,
                _ => {}
            }
            Ok(())
        })?;
        if shape.len() > AXES_MAX {
            return Err("a tensor has too many axes");
        }
        tensor.shape = shape.into_iter().map(usize::try_from).collect::<std::result::Result<_, _>>().map_err(|_| "a size is negative")?;
        Ok(tensor)
    }
}

impl<'a> External<'a> {
    fn entry(&mut self, wire: Wire<'a>) -> Result<()> {
        let (mut key, mut value) = ("", "");
        each(wire, |number, wire| {
            match number {
                1 => key = wire.text()?,
                2 => value = wire.text()?,
                _ => {}
            }
            Ok(())
        })?;
        let number = || value.parse().map_err(|_| "a place in another file is not a number");
        match key {
            "location" => self.file = value,
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            _ => {}
        }
        Ok(())
    }
}

fn each<'a>(wire: Wire<'a>, mut field: impl FnMut(u64, Wire<'a>) -> Result<()>) -> Result<()> {
    let mut message = Message::new(wire.bytes()?);
    while let Some((number, wire)) = message.next()? {
        field(number, wire)?;
    }
    Ok(())
}
