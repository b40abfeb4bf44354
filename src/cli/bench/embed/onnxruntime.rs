//! onnxruntime's C interface, from a library file that is opened at run time: only what a comparison needs.
#![allow(unsafe_code, reason = "a foreign library is called")]

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

/// The version of the interface that is asked for: everything below is in it and in all later ones.
const API_VERSION: u32 = 16;
/// `ORT_LOGGING_LEVEL_ERROR`.
const LOG_ERRORS: c_int = 3;
/// `ORT_ENABLE_ALL`.
const OPTIMIZE_ALL: c_int = 99;
/// `ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT`.
const FLOAT: c_int = 1;
/// `ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64`.
const INT64: c_int = 7;
/// Inputs of a model that is compared.
const INPUTS_MAX: usize = 8;

/// Objects of the library, told apart by their use only.
type Object = *mut c_void;
/// Null for success.
type Status = *mut c_void;

#[repr(C)]
struct ApiBase {
    api: unsafe extern "C" fn(u32) -> *const Api,
    version: unsafe extern "C" fn() -> *const c_char,
}

/// `OrtApi` of `onnxruntime_c_api.h`: a table of functions that only ever grows at its end; what is not used here is left out.
#[repr(C)]
struct Api {
    _to_1: [usize; 2],
    error_message: unsafe extern "C" fn(Status) -> *const c_char,
    create_env: unsafe extern "C" fn(c_int, *const c_char, *mut Object) -> Status,
    _to_6: [usize; 3],
    create_session: unsafe extern "C" fn(Object, *const c_char, Object, *mut Object) -> Status,
    _to_8: [usize; 1],
    #[allow(clippy::type_complexity, reason = "as the header has it")]
    run: unsafe extern "C" fn(
        Object,
        Object,
        *const *const c_char,
        *const Object,
        usize,
        *const *const c_char,
        usize,
        *mut Object,
    ) -> Status,
    create_session_options: unsafe extern "C" fn(*mut Object) -> Status,
    _to_22: [usize; 12],
    set_graph_optimization_level: unsafe extern "C" fn(Object, c_int) -> Status,
    set_intra_op_threads: unsafe extern "C" fn(Object, c_int) -> Status,
    set_inter_op_threads: unsafe extern "C" fn(Object, c_int) -> Status,
    _to_29: [usize; 4],
    input_count: unsafe extern "C" fn(Object, *mut usize) -> Status,
    output_count: unsafe extern "C" fn(Object, *mut usize) -> Status,
    _to_35: [usize; 4],
    input_name: unsafe extern "C" fn(Object, usize, Object, *mut *mut c_char) -> Status,
    output_name: unsafe extern "C" fn(Object, usize, Object, *mut *mut c_char) -> Status,
    _to_48: [usize; 11],
    create_tensor: unsafe extern "C" fn(Object, *mut c_void, usize, *const i64, usize, c_int, *mut Object) -> Status,
    _to_50: [usize; 1],
    tensor_data: unsafe extern "C" fn(Object, *mut *mut c_void) -> Status,
    _to_63: [usize; 12],
    element_count: unsafe extern "C" fn(Object, *mut usize) -> Status,
    type_and_shape: unsafe extern "C" fn(Object, *mut Object) -> Status,
    _to_68: [usize; 3],
    create_cpu_memory_info: unsafe extern "C" fn(c_int, c_int, *mut Object) -> Status,
    _to_75: [usize; 6],
    allocator_free: unsafe extern "C" fn(Object, *mut c_void) -> Status,
    _to_77: [usize; 1],
    default_allocator: unsafe extern "C" fn(*mut Object) -> Status,
    _to_91: [usize; 13],
    release_env: unsafe extern "C" fn(Object),
    release_status: unsafe extern "C" fn(Object),
    release_memory_info: unsafe extern "C" fn(Object),
    release_session: unsafe extern "C" fn(Object),
    release_value: unsafe extern "C" fn(Object),
    _to_98: [usize; 2],
    release_type_and_shape: unsafe extern "C" fn(Object),
    release_session_options: unsafe extern "C" fn(Object),
}

const _: () = {
    let place = size_of::<usize>();
    assert!(offset_of!(Api, run) == 9 * place && offset_of!(Api, set_intra_op_threads) == 24 * place);
    assert!(offset_of!(Api, input_name) == 36 * place && offset_of!(Api, create_tensor) == 49 * place);
    assert!(offset_of!(Api, type_and_shape) == 65 * place && offset_of!(Api, default_allocator) == 78 * place);
    assert!(offset_of!(Api, release_status) == 93 * place && offset_of!(Api, release_session_options) == 100 * place);
};

impl Api {
    /// The error that a status stands for.
    fn check(&self, status: Status) -> Result<(), String> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a status that is not null has a message that ends with a zero; it is released once, after that was copied.
        unsafe {
            let message = CStr::from_ptr((self.error_message)(status)).to_string_lossy().into_owned();
            (self.release_status)(status);
            Err(message)
        }
    }

    /// Calls a function that gives an object by its last argument.
    fn create(&self, function: impl FnOnce(*mut Object) -> Status) -> Result<Object, String> {
        let mut object = null_mut();
        self.check(function(&raw mut object))?;
        Ok(object)
    }
}

/// The library, open until the process ends.
pub(super) struct Runtime {
    api: &'static Api,
    env: Object,
    version: String,
}

impl Runtime {
    /// Opens a library file.
    pub(super) fn open(library: &Path) -> Result<Runtime, String> {
        let path = c_string(library.as_os_str())?;
        // SAFETY: the path ends with a zero; that the file is what it claims to be is the caller's decision, as with any plug-in.
        // The functions have the types of the header, whose table is only ever extended, and stay loaded for good.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if handle.is_null() {
                return Err(format!("{} is no library that can be opened", library.display()));
            }
            let symbol = libc::dlsym(handle, c"OrtGetApiBase".as_ptr());
            if symbol.is_null() {
                return Err(format!("{} is not onnxruntime", library.display()));
            }
            let base = std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const ApiBase>(symbol)();
            let api = ((*base).api)(API_VERSION).as_ref().ok_or_else(|| format!("onnxruntime is older than 1.{API_VERSION}"))?;
            let version = CStr::from_ptr(((*base).version)()).to_string_lossy().into_owned();
            let env = api.create(|out| (api.create_env)(LOG_ERRORS, c"gotham".as_ptr(), out))?;
            Ok(Runtime { api, env, version })
        }
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Loads a model for so many threads; of its outputs the one called `output` is used, or the first.
    pub(super) fn session(&self, model: &Path, threads: usize, output: &str) -> Result<Session<'_>, String> {
        let api = self.api;
        let path = c_string(model.as_os_str())?;
        // SAFETY: all objects are the library's own and released once; the path outlives the call.
        unsafe {
            let options = api.create(|out| (api.create_session_options)(out))?;
            let session = api
                .check((api.set_graph_optimization_level)(options, OPTIMIZE_ALL))
                .and_then(|()| api.check((api.set_intra_op_threads)(options, threads as c_int)))
                .and_then(|()| api.check((api.set_inter_op_threads)(options, 1)))
                .and_then(|()| api.create(|out| (api.create_session)(self.env, path.as_ptr(), options, out)));
            (api.release_session_options)(options);
            let session = session?;
            let memory = match api.create(|out| (api.create_cpu_memory_info)(0, 0, out)) {
                Ok(memory) => memory,
                Err(error) => {
                    (api.release_session)(session);
                    return Err(error);
                }
            };
            let mut session = Session { runtime: self, session, memory, inputs: Vec::new(), output: CString::default() };
            session.read_names(output)?;
            Ok(session)
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: made by this library, released once; sessions borrow the runtime and are gone.
        unsafe { (self.api.release_env)(self.env) };
    }
}

/// One input of a run; its numbers fill its shape.
pub(super) enum Tensor {
    Floats(Vec<i64>, Vec<f32>),
    Integers(Vec<i64>, Vec<i64>),
}

/// A loaded model.
pub(super) struct Session<'r> {
    runtime: &'r Runtime,
    session: Object,
    memory: Object,
    inputs: Vec<CString>,
    output: CString,
}

impl Session<'_> {
    fn read_names(&mut self, output: &str) -> Result<(), String> {
        let api = self.runtime.api;
        // SAFETY: the session is alive; names are copied and then freed by the allocator that made them.
        unsafe {
            let allocator = api.create(|out| (api.default_allocator)(out))?;
            let name = |function: unsafe extern "C" fn(Object, usize, Object, *mut *mut c_char) -> Status, index: usize| {
                let mut name = null_mut();
                api.check(function(self.session, index, allocator, &raw mut name))?;
                let copy = CStr::from_ptr(name).to_owned();
                api.check((api.allocator_free)(allocator, name.cast()))?;
                Ok::<_, String>(copy)
            };
            let (mut inputs, mut outputs) = (0, 0);
            api.check((api.input_count)(self.session, &raw mut inputs))?;
            api.check((api.output_count)(self.session, &raw mut outputs))?;
            if inputs > INPUTS_MAX || outputs == 0 {
                return Err(format!("a model with {inputs} inputs and {outputs} outputs cannot be compared"));
            }
            let outputs = (0..outputs).map(|index| name(api.output_name, index)).collect::<Result<Vec<_>, _>>()?;
            let wanted = outputs.iter().find(|name| name.to_bytes() == output.as_bytes()).or(outputs.first());
            self.output = wanted.cloned().unwrap_or_default();
            self.inputs = (0..inputs).map(|index| name(api.input_name, index)).collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    /// The names of the inputs, in order.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|name| name.to_str().unwrap_or_default())
    }

    /// Runs one batch: a tensor for each input, in order. The output must be of floats.
    pub(super) fn run(&self, tensors: &mut [Tensor]) -> Result<Vec<f32>, String> {
        let api = self.runtime.api;
        if tensors.len() != self.inputs.len() {
            return Err(format!("{} tensors for {} inputs", tensors.len(), self.inputs.len()));
        }
        let mut values = Values { api, objects: Vec::new() };
        for tensor in tensors {
            let (shape, data, bytes, kind) = match tensor {
                Tensor::Floats(shape, data) => (&*shape, data.as_mut_ptr().cast(), size_of_val(&data[..]), FLOAT),
                Tensor::Integers(shape, data) => (&*shape, data.as_mut_ptr().cast(), size_of_val(&data[..]), INT64),
            };
            // SAFETY: the numbers outlive the value, which is released when this function ends; the library compares their
            // bytes with the shape.
            let create = |out| unsafe { (api.create_tensor)(self.memory, data, bytes, shape.as_ptr(), shape.len(), kind, out) };
            values.objects.push(api.create(create)?);
        }
        let names: Vec<*const c_char> = self.inputs.iter().map(|name| name.as_ptr()).collect();
        let output_name = self.output.as_ptr();
        // SAFETY: as many names as values; the output's memory belongs to its value, lives as long, and holds as many floats as
        // the library says.
        unsafe {
            let (inputs, count) = (values.objects.as_ptr(), values.objects.len());
            let output =
                api.create(|out| (api.run)(self.session, null_mut(), names.as_ptr(), inputs, count, &raw const output_name, 1, out))?;
            values.objects.push(output);
            let shape = api.create(|out| (api.type_and_shape)(output, out))?;
            let mut floats = 0;
            let counted = api.check((api.element_count)(shape, &raw mut floats));
            (api.release_type_and_shape)(shape);
            counted?;
            let mut data = null_mut();
            api.check((api.tensor_data)(output, &raw mut data))?;
            Ok(if floats == 0 { Vec::new() } else { std::slice::from_raw_parts(data.cast::<f32>(), floats).to_vec() })
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: both are this session's own and released once.
        unsafe {
            (self.runtime.api.release_memory_info)(self.memory);
            (self.runtime.api.release_session)(self.session);
        }
    }
}

/// Values that are released together.
struct Values {
    api: &'static Api,
    objects: Vec<Object>,
}

impl Drop for Values {
    fn drop(&mut self) {
        for object in &self.objects {
            // SAFETY: made by the library, released once.
            unsafe { (self.api.release_value)(*object) };
        }
    }
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|_| format!("{} holds a zero byte", text.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_named() {
        let missing = Runtime::open(Path::new("/nowhere/libonnxruntime.so")).err().expect("is not there");
        assert_eq!(missing, "/nowhere/libonnxruntime.so is no library that can be opened");
    }
}
