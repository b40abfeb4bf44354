//! Where the Parquet files lie: a local folder, or any store that speaks S3.
//!
//! Names are relative and stay: `day=2026-11-26/events-….parquet`. A file appears under its name whole or not at all.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use store::{StoreError, files};
use tokio::runtime::Runtime;

/// One part of an upload and of a download.
const PART_BYTES: usize = 8 << 20;
/// Where files are written before they get their name.
const STAGING: &str = "staging";

pub(crate) struct Files {
    /// The local folder: the catalog, what is being written, and the files themselves unless they lie elsewhere.
    dir: PathBuf,
    remote: Option<Remote>,
}

/// Another store and the thread that talks to it.
struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Files {
    /// Files in `dir`, or at `url` (`s3://bucket/prefix`), by `endpoint` where that is not Amazon's. Writes nothing: whoever is going to
    /// calls [`Files::create_dirs`] first.
    pub(crate) fn open(dir: &Path, url: &str, endpoint: &str) -> Result<Self, StoreError> {
        let remote = match url.strip_prefix("s3://") {
            None if url.is_empty() => None,
            None => return Err(StoreError::io("warehouse_url", "is neither empty nor `s3://bucket/prefix`")),
            Some(place) => {
                let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
                // A second call finds the provider installed: so it is meant.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                if !endpoint.is_empty() {
                    builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
                }
                let store = builder.build().map_err(|error| StoreError::io(url, error))?;
                Some((Arc::new(store) as Arc<dyn ObjectStore>, prefix))
            }
        };
        let remote = remote.map(|(store, prefix)| Remote::new(store, prefix)).transpose()?;
        Ok(Self { dir: dir.to_path_buf(), remote })
    }

    /// Files in another store, whatever it is.
    #[cfg(test)]
    pub(crate) fn elsewhere(dir: &Path, store: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        Ok(Self { dir: dir.to_path_buf(), remote: Some(Remote::new(store, "shop/1")?) })
    }

    /// Creates the local folders that writing needs.
    pub(crate) fn create_dirs(&self) -> Result<(), StoreError> {
        files::create_dir(&self.dir)?;
        files::create_dir(&self.staging())
    }

    /// Where files are written before [`Files::put`].
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join(STAGING)
    }

    /// The local folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives a flushed file of the staging folder its name, durably.
    pub(crate) fn put(&self, staged: &Path, name: &str) -> Result<(), StoreError> {
        if let Some(remote) = &self.remote {
            remote.upload(staged, name)?;
            return fs::remove_file(staged).map_err(|error| StoreError::io(staged.display(), error));
        }
        let path = self.dir.join(name);
        let failed = |error| StoreError::io(path.display(), error);
        if let Some(folder) = path.parent() {
            files::create_dir(folder)?;
            fs::rename(staged, &path).map_err(failed)?;
            files::sync_dir(folder).map_err(failed)?;
        }
        Ok(())
    }

    /// Opens a file for reading; one that lies elsewhere is fetched first, into a file without a name.
    pub(crate) fn open_file(&self, name: &str, bytes: u64) -> Result<File, StoreError> {
        match &self.remote {
            Some(remote) => {
                // Who only reads has no staging folder, and makes none.
                let staging = self.staging();
                remote.download(name, bytes, if staging.is_dir() { &staging } else { &self.dir })
            }
            None => {
                let path = self.dir.join(name);
                File::open(&path).map_err(|error| StoreError::io(path.display(), error))
            }
        }
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        match &self.remote {
            Some(remote) => remote.remove(name),
            None => remove_if_there(&self.dir.join(name)),
        }
    }

    /// All Parquet files that lie there.
    pub(crate) fn list(&self) -> Result<Vec<String>, StoreError> {
        match &self.remote {
            Some(remote) => remote.list(),
            None => {
                let mut names = Vec::new();
                for day in entries(&self.dir)?.into_iter().filter(|name| name.starts_with("day=")) {
                    let files = entries(&self.dir.join(&day))?;
                    names.extend(files.into_iter().filter(|name| name.ends_with(".parquet")).map(|name| format!("{day}/{name}")));
                }
                Ok(names)
            }
        }
    }

    /// Empties the staging folder.
    pub(crate) fn clear_staging(&self) -> Result<(), StoreError> {
        let staging = self.staging();
        entries(&staging)?.into_iter().try_for_each(|name| remove_if_there(&staging.join(name)))
    }

    /// Writes a small file of the local folder anew; beside files that lie elsewhere stands a copy. After an error the old file is in
    /// force, or the new one and not durably.
    pub(crate) fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        files::publish(&path, |file| file.write_all(bytes).map_err(|error| StoreError::io(path.display(), error)))?;
        if let Some(remote) = &self.remote
            && let Err(error) = remote.put_small(name, bytes.to_vec())
        {
            tracing::warn!(%error, name, "the copy beside the files is not up to date");
        }
        Ok(())
    }
}

impl Remote {
    fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("warehouse-files").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::io("the warehouse's thread", error))?;
        Ok(Self { store, prefix: ObjectPath::from(prefix), runtime: Some(runtime) })
    }

    /// Waits for work that is done on the runtime's own thread: also where the caller stands on an async thread itself.
    fn wait<T: Send + 'static>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Stopped)?;
        let (done, result) = mpsc::sync_channel(1);
        runtime.spawn(async move { drop(done.send(work.await)) });
        result.recv().map_err(|_| StoreError::Stopped)?.map_err(|error| StoreError::io(name, error))
    }

    fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn upload(&self, staged: &Path, name: &str) -> Result<(), StoreError> {
        let file = File::open(staged).map_err(|error| StoreError::io(staged.display(), error))?;
        let (store, path) = (self.store.clone(), self.path(name));
        let upload = self.wait(name, async move { store.put_multipart(&path).await })?;
        self.upload_by(upload, file, name)
    }

    fn upload_by(&self, mut upload: Box<dyn MultipartUpload>, file: File, name: &str) -> Result<(), StoreError> {
        let sent = self.send_parts(upload.as_mut(), file, name);
        let (is_sent, of) = (sent.is_ok(), name.to_owned());
        let completed = self.wait(name, async move {
            let completed = if is_sent { upload.complete().await.map(drop) } else { Ok(()) };
            // The store keeps the parts of an upload, which nobody sees and somebody pays for, until it is aborted.
            if (!is_sent || completed.is_err())
                && let Err(error) = upload.abort().await
            {
                tracing::warn!(%error, name = of, "an upload that failed could not be aborted");
            }
            completed
        });
        sent.and(completed)
    }

    fn send_parts(&self, upload: &mut dyn MultipartUpload, mut file: File, name: &str) -> Result<(), StoreError> {
        loop {
            let mut part = Vec::new();
            let read = Read::by_ref(&mut file).take(PART_BYTES as u64).read_to_end(&mut part);
            if read.map_err(|error| StoreError::io(name, error))? == 0 {
                return Ok(());
            }
            let sent = upload.put_part(PutPayload::from(part));
            self.wait(name, sent)?;
        }
    }

    fn download(&self, name: &str, bytes: u64, folder: &Path) -> Result<File, StoreError> {
        let failed = |error| StoreError::io(name, error);
        let mut file = tempfile::tempfile_in(folder).map_err(failed)?;
        let mut at = 0;
        while at < bytes {
            let (store, path, end) = (self.store.clone(), self.path(name), bytes.min(at + PART_BYTES as u64));
            let part = self.wait(name, async move { store.get_range(&path, at..end).await })?;
            if part.is_empty() {
                return Err(StoreError::Damaged(format!("{name} ends at byte {at} of {bytes}").into()));
            }
            file.write_all(&part).map_err(failed)?;
            at += part.len() as u64;
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(file)
    }

    fn put_small(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let (store, path) = (self.store.clone(), self.path(name));
        self.wait(name, async move { store.put(&path, PutPayload::from(bytes)).await }).map(drop)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let (store, path) = (self.store.clone(), self.path(name));
        self.wait(name, async move {
            match store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                result => result,
            }
        })
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let (store, prefix) = (self.store.clone(), self.prefix.clone());
        let depth = prefix.parts().count();
        self.wait("list", async move {
            let mut names = Vec::new();
            for day in store.list_with_delimiter(Some(&prefix)).await?.common_prefixes {
                for object in store.list_with_delimiter(Some(&day)).await?.objects {
                    let parts: Vec<_> = object.location.parts().skip(depth).map(|part| part.as_ref().to_owned()).collect();
                    names.push(parts.join("/"));
                }
            }
            names.retain(|name: &String| name.starts_with("day=") && name.ends_with(".parquet"));
            Ok(names)
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Never waits: it may be dropped on an async thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn entries(dir: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error| StoreError::io(dir.display(), error);
    let names = fs::read_dir(dir).map_err(failed)?;
    names.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed)).collect()
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path.display(), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;

    use object_store::memory::InMemory;
    use object_store::{Error, PutResult, UploadPart};

    use super::*;

    type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

    /// An upload that tells what is done with it, and fails at one of its calls.
    #[derive(Debug)]
    struct Told {
        calls: Arc<Mutex<Vec<&'static str>>>,
        fails_at: &'static str,
    }

    impl Told {
        fn call(&self, call: &'static str) -> Result<(), Error> {
            self.calls.lock().expect("unpoisoned").push(call);
            if call == self.fails_at { Err(Error::NotImplemented { operation: call.into(), implementer: "a test".into() }) } else { Ok(()) }
        }
    }

    impl MultipartUpload for Told {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            let called = self.call("part");
            Box::pin(async move { called })
        }

        fn complete<'a, 'b>(&'a mut self) -> Boxed<'b, PutResult>
        where
            'a: 'b,
        {
            let called = self.call("complete");
            Box::pin(async move { called.map(|()| PutResult { e_tag: None, version: None, extensions: Default::default() }) })
        }

        fn abort<'a, 'b>(&'a mut self) -> Boxed<'b, ()>
        where
            'a: 'b,
        {
            let called = self.call("abort");
            Box::pin(async move { called })
        }
    }

    #[test]
    fn a_failed_upload_is_aborted() {
        let remote = Remote::new(Arc::new(InMemory::new()), "shop/1").expect("a remote");
        for (fails_at, expected) in
            [("nothing", &["part", "complete"][..]), ("part", &["part", "abort"]), ("complete", &["part", "complete", "abort"])]
        {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(b"rows").and_then(|()| file.seek(SeekFrom::Start(0))).expect("written");
            let calls = Arc::new(Mutex::new(Vec::new()));
            let uploaded = remote.upload_by(Box::new(Told { calls: calls.clone(), fails_at }), file, "a file");
            assert_eq!((uploaded.is_ok(), &calls.lock().expect("unpoisoned")[..]), (fails_at == "nothing", expected), "{fails_at}");
        }
    }
}
