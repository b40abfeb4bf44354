//! Where a picture is: its reference taken apart.

use std::path::PathBuf;

use domain::ImageRef;
use url::Url;

/// Where a picture's bytes are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file on this machine.
    File(PathBuf),
    /// An entry of an archive on this machine.
    Archive {
        /// The archive.
        archive: PathBuf,
        /// The entry's name inside.
        entry: String,
        /// How the archive is packed.
        format: ArchiveFormat,
    },
    /// A server.
    Http(String),
}

/// How an archive is packed; told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `.zip`
    Zip,
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
}

/// Between an archive's path and the entry's name.
const ENTRY_SEPARATOR: &str = "!/";

impl Place {
    /// Takes a reference apart; the error says what is wrong with it.
    pub fn of(image: &ImageRef) -> Result<Self, String> {
        let text = image.0.as_str();
        let (scheme, rest) =
            text.split_once(':').ok_or_else(|| "a picture's place begins with http:, https:, file: or archive:".to_owned())?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Self::Http(text.to_owned())),
            "file" => local_path(text).map(Self::File),
            "archive" => {
                let (archive, entry) =
                    rest.split_once(ENTRY_SEPARATOR).ok_or_else(|| format!("no {ENTRY_SEPARATOR:?} before the entry's name"))?;
                if entry.is_empty() {
                    return Err("the entry's name is empty".to_owned());
                }
                let archive = local_path(&format!("file:{archive}"))?;
                let format = ArchiveFormat::of(&archive).ok_or_else(|| "only .zip, .tar, .tar.gz and .tgz archives are read".to_owned())?;
                Ok(Self::Archive { archive, entry: entry.to_owned(), format })
            }
            other => Err(format!("pictures are not read from {other:?}")),
        }
    }
}

impl ArchiveFormat {
    fn of(path: &std::path::Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let endings = [(".zip", Self::Zip), (".tar", Self::Tar), (".tar.gz", Self::TarGz), (".tgz", Self::TarGz)];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

/// The path in a `file:` URL. No file has a query or a fragment: a bare `?` or `#` belongs to its name, which then is not encoded.
fn local_path(text: &str) -> Result<PathBuf, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.path().is_empty() || url.path() == "/" {
        return Err("no path".to_owned());
    }
    let literal = text.split_once("://").map(|(_, path)| path).unwrap_or_default();
    if literal.starts_with('/') && (url.query().is_some() || url.fragment().is_some()) {
        return Ok(PathBuf::from(literal));
    }
    url.to_file_path().map_err(|()| "not an absolute path on this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &str, entry: &str, format: ArchiveFormat) -> Place {
        Place::Archive { archive: path.into(), entry: entry.into(), format }
    }

    #[test]
    fn places_by_table() {
        let cases = [
            ("https://shop.example/a.jpg?w=1", Some(Place::Http("https://shop.example/a.jpg?w=1".into()))),
            ("HTTP://shop.example/a", Some(Place::Http("HTTP://shop.example/a".into()))),
            ("file:///data/a%20b.jpg", Some(Place::File("/data/a b.jpg".into()))),
            ("file:///data/ü.jpg", Some(Place::File("/data/ü.jpg".into()))),
            ("file:///data/no#1?.jpg", Some(Place::File("/data/no#1?.jpg".into()))),
            ("archive:///data/a.zip!/images/1.jpg", Some(archive("/data/a.zip", "images/1.jpg", ArchiveFormat::Zip))),
            ("archive:///data/a.TAR.GZ!/1.jpg", Some(archive("/data/a.TAR.GZ", "1.jpg", ArchiveFormat::TarGz))),
            ("archive:///data/a.tar!/b!/c", Some(archive("/data/a.tar", "b!/c", ArchiveFormat::Tar))),
            ("archive:///data/a.rar!/1.jpg", None),
            ("archive:///data/a.zip", None),
            ("archive:///data/a.zip!/", None),
            ("file://server/share/a.jpg", None),
            ("file:///", None),
            ("ftp://shop.example/a.jpg", None),
            ("images/1.jpg", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Place::of(&ImageRef(text.into())).ok(), expected, "{text:?}");
        }
    }
}
