//! What the device can give at best, measured: copying, multiplying in either precision, and cooperative matrices.

use super::device::GpuError;
use super::engine::{ALIGNMENT, Engine, OPERANDS, PARAMETERS_STRIDE, grid};
use super::source::{Precision, Source, range};
use super::timing::Timer;

/// Invocations of a workgroup.
const WORKGROUP: usize = 256;
/// Bytes that are copied: far more than caches hold.
const COPY_BYTES: usize = 256 << 20;
/// As many on a program on the CPU, which is slow.
const COPY_BYTES_SOFTWARE: usize = 8 << 20;
/// Registers that are multiplied independently of each other.
const SUMS: usize = 8;
/// Repetitions, of which the fastest counts.
const ROUNDS: usize = 4;

/// One measured peak.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    /// Of what.
    pub name: &'static str,
    /// Bytes read and written, or multiplications and additions, a second.
    pub per_second: f64,
}

/// The shader that copies.
pub(crate) fn copy_source() -> String {
    Source::new(Precision::F32).constants([("WORKGROUP", WORKGROUP)]).part(include_str!("../../wgsl/probe_copy.wgsl")).finish()
}

/// The shader that multiplies.
pub(crate) fn fma_source(precision: Precision, rounds: usize) -> String {
    Source::new(precision)
        .constants([("WORKGROUP", WORKGROUP), ("ROUNDS", rounds)])
        .body(include_str!("../../wgsl/probe_fma.wgsl"), &[("q", range(SUMS))])
        .finish()
}

/// The shader that multiplies matrices.
pub(crate) fn cooperative_source(rounds: usize) -> String {
    Source::new(Precision::F16)
        .enable("wgpu_cooperative_matrix")
        .constants([("WORKGROUP", WORKGROUP), ("ROUNDS", rounds)])
        .body(include_str!("../../wgsl/probe_cooperative.wgsl"), &[("q", range(SUMS))])
        .finish()
}

/// Measures all that the device offers.
pub(crate) fn peaks(engine: &Engine) -> Result<Vec<Peak>, GpuError> {
    let hardware = engine.device.info.hardware;
    let bytes = if hardware { COPY_BYTES } else { COPY_BYTES_SOFTWARE }.min(engine.binding_bytes_max());
    let storage = wgpu::BufferUsages::STORAGE;
    let buffers = [engine.device.buffer("probe", bytes, storage)?, engine.device.buffer("probe", bytes, storage)?];
    let mut peaks = Vec::new();
    let seconds = fastest(engine, "copy", copy_source(), &buffers, (bytes / 16).div_ceil(WORKGROUP))?;
    peaks.push(Peak { name: "copy", per_second: 2.0 * bytes as f64 / seconds });
    let (rounds, workgroups) = if hardware { (512, 132 * 64) } else { (64, 64) };
    let halves = engine.device.device.features().contains(wgpu::Features::SHADER_F16);
    for (name, precision) in [("f32 multiply-add", Precision::F32), ("f16 multiply-add", Precision::F16)] {
        if precision == Precision::F32 || halves {
            let seconds = fastest(engine, "fma", fma_source(precision, rounds), &buffers, workgroups)?;
            let operations = workgroups * WORKGROUP * rounds * SUMS * 4 * 4 * 2;
            peaks.push(Peak { name, per_second: operations as f64 / seconds });
        }
    }
    if engine.device.cooperative {
        let seconds = fastest(engine, "cooperative", cooperative_source(rounds * 2), &buffers, workgroups)?;
        let operations = workgroups * (WORKGROUP / 32) * rounds * 2 * SUMS * 16 * 16 * 16 * 2;
        peaks.push(Peak { name: "cooperative matrices", per_second: operations as f64 / seconds });
    }
    Ok(peaks)
}

/// Seconds of the fastest of some runs.
fn fastest(engine: &Engine, label: &str, text: String, [input, output]: &[wgpu::Buffer; 2], workgroups: usize) -> Result<f64, GpuError> {
    let device = &engine.device;
    let pipeline = engine.pipeline(label, text)?;
    let usage = wgpu::BufferUsages::UNIFORM;
    let parameters = device.buffer("probe", PARAMETERS_STRIDE.max(ALIGNMENT), usage)?;
    let group = device.attempt(|| {
        let uniform = wgpu::BufferBinding { buffer: &parameters, offset: 0, size: wgpu::BufferSize::new(PARAMETERS_STRIDE as u64) };
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
        for binding in 1..=OPERANDS {
            let buffer = match binding {
                1 => input,
                OPERANDS => output,
                _ => &engine.nothing,
            };
            entries.push(wgpu::BindGroupEntry { binding: binding as u32, resource: buffer.as_entire_binding() });
        }
        let descriptor = wgpu::BindGroupDescriptor { label: Some("probe"), layout: &engine.layout, entries: &entries };
        Ok(device.device.create_bind_group(&descriptor))
    })?;
    let mut timer = Timer::new(device, 1)?;
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let seconds = device.attempt(|| {
            let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = timer.begin(&mut encoder, 0);
            let [x, y, z] = grid(workgroups);
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[0]);
            pass.dispatch_workgroups(x, y, z);
            drop(pass);
            timer.finish(device, encoder)
        })?;
        fastest = fastest.min(seconds[0]);
    }
    Ok(fastest.max(1e-9))
}
