// The curves that activations are made of, of four numbers at once; tanh(x) is 2 sigmoid(2 x) - 1, since the built-in overflows
// on some devices. The twin on the CPU is src/kernels/activation.rs.

// x (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7).
fn gelu(x: vec4<f32>) -> vec4<f32> {
    let size = abs(x);
    let z = size * 0.70710678;
    let t = 1.0 / fma(z, vec4<f32>(0.3275911), vec4<f32>(1.0));
    var sum = fma(vec4<f32>(1.0614054), t, vec4<f32>(-1.4531521));
    sum = fma(sum, t, vec4<f32>(1.4214138));
    sum = fma(sum, t, vec4<f32>(-0.28449672));
    sum = fma(sum, t, vec4<f32>(0.2548296));
    let tail = sum * t * exp(-min(z * z, vec4<f32>(87.0)));
    return max(x, vec4<f32>()) - size * 0.5 * tail;
}

// 1 / (1 + e^-x), whose exponential cannot overflow.
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(clamp(-x, vec4<f32>(-80.0), vec4<f32>(80.0))));
}
