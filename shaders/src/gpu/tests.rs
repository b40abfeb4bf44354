//! Shaders without a device, and plans on a software device against the CPU.

mod plans;
mod shaders;
