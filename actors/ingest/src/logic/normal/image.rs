//! Picture references: what a feed may point at. `http(s)` URLs are taken; everything local must lie under the image folder.

use std::path::{Component, Path, PathBuf};

use domain::ImageRef;

/// The longest reference.
pub const IMAGE_REF_BYTES_MAX: usize = 2048;

/// Why a reference is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A local name, and there is no image folder.
    #[error("a relative picture name, and no image folder is given")]
    NoRoot,
    /// A local name that leads out of the image folder.
    #[error("the picture lies outside the image folder")]
    Outside,
    /// Another scheme than http, https and file, or an URL that does not parse.
    #[error("only http and https URLs and files under the image folder are taken")]
    Scheme,
    /// Too long or with control characters.
    #[error("the picture reference is too long or contains control characters")]
    Malformed,
}

impl ImageError {
    /// Stable, snake_case.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoot => "image_without_root",
            Self::Outside => "image_outside_root",
            Self::Scheme | Self::Malformed => "bad_image",
        }
    }
}

/// The folder that local pictures lie in or below.
#[derive(Clone, Debug)]
pub struct ImageRoot {
    /// Absolute and canonical.
    path: PathBuf,
    /// Follows symbolic links; `None` where nothing is there (yet).
    canonical: fn(&Path) -> Option<PathBuf>,
}

impl ImageRoot {
    /// `path` is absolute and canonical; `canonical` follows links, so that none leads out of it.
    pub fn new(path: PathBuf, canonical: fn(&Path) -> Option<PathBuf>) -> Self {
        Self { path, canonical }
    }

    fn resolve(&self, named: &Path) -> Result<ImageRef, ImageError> {
        let mut inside = self.path.clone();
        let relative = if named.is_absolute() { named.strip_prefix(&self.path).map_err(|_| ImageError::Outside)? } else { named };
        for component in relative.components() {
            match component {
                Component::Normal(part) => inside.push(part),
                Component::CurDir => {}
                // Climbing is refused even where it would stay inside: no honest feed does it.
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(ImageError::Outside),
            }
        }
        let target = (self.canonical)(&inside).unwrap_or(inside);
        if !target.starts_with(&self.path) || target == self.path {
            return Err(ImageError::Outside);
        }
        // Encoded, so that a name such as `%2e%2e` means itself to whoever reads the reference.
        url::Url::from_file_path(&target).map(|url| ImageRef(url.into())).map_err(|()| ImageError::Malformed)
    }
}

/// One reference: an `http(s)` URL as it is, `//host/path` as https, a `file:` URL or a name under the image folder.
pub fn parse_image(text: &str, root: Option<&ImageRoot>) -> Result<ImageRef, ImageError> {
    let text = text.trim();
    if text.is_empty() || text.len() > IMAGE_REF_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(ImageError::Malformed);
    }
    if let Some(rest) = text.strip_prefix("//") {
        return parse_image(&format!("https://{rest}"), None);
    }
    let Some((scheme, _)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return root.ok_or(ImageError::NoRoot)?.resolve(Path::new(&text.replace('\\', "/")));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            // Links are not HTML, so an ampersand that was escaped once too often is undone here.
            let url = url::Url::parse(&text.replace("&amp;", "&")).map_err(|_| ImageError::Scheme)?;
            if url.host_str().is_some_and(|host| !host.is_empty()) { Ok(ImageRef(url.into())) } else { Err(ImageError::Scheme) }
        }
        "file" => {
            let path = url::Url::parse(text).ok().and_then(|url| url.to_file_path().ok()).ok_or(ImageError::Outside)?;
            root.ok_or(ImageError::Outside)?.resolve(&path)
        }
        _ => Err(ImageError::Scheme),
    }
}

/// The references in one cell: separated by `|`, by line breaks, or by a comma in front of the next URL.
pub fn split_list(cell: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for part in cell.split(['|', '\n', '\r']) {
        let mut start = 0;
        for (at, _) in part.match_indices(',') {
            let next = part[at + 1..].trim_start();
            let is_url = part[start..].trim_start().contains("://") || part[start..].trim_start().starts_with("//");
            if !is_url || next.starts_with("http://") || next.starts_with("https://") || next.starts_with("//") {
                names.push(&part[start..at]);
                start = at + 1;
            }
        }
        names.push(&part[start..]);
    }
    names.into_iter().map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// Two letters at least, so that a drive letter is no scheme; a slash cannot stand in one.
fn is_scheme(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> ImageRoot {
        ImageRoot::new(PathBuf::from("/shop/images"), |path| (path.file_name()? == "link.jpg").then(|| PathBuf::from("/etc/secret.jpg")))
    }

    #[test]
    fn references_by_table() {
        let cases = [
            ("https://shop.example/a.jpg?v=1", Ok("https://shop.example/a.jpg?v=1")),
            (" HTTP://Shop.example/a b.jpg ", Ok("http://shop.example/a%20b.jpg")),
            ("https://shop.example/a.jpg?v=1&amp;w=2", Ok("https://shop.example/a.jpg?v=1&w=2")),
            ("//cdn.example/a.jpg", Ok("https://cdn.example/a.jpg")),
            ("a.jpg", Ok("file:///shop/images/a.jpg")),
            ("sub/./ö 1.jpg", Ok("file:///shop/images/sub/%C3%B6%201.jpg")),
            ("sub\\a.jpg", Ok("file:///shop/images/sub/a.jpg")),
            ("file:///shop/images/a.jpg", Ok("file:///shop/images/a.jpg")),
            ("/shop/images/a.jpg", Ok("file:///shop/images/a.jpg")),
            ("%2e%2e/a.jpg", Ok("file:///shop/images/%252e%252e/a.jpg")),
            ("a#1?.jpg", Ok("file:///shop/images/a%231%3F.jpg")),
            ("file:///shop/images/a%20b.jpg", Ok("file:///shop/images/a%20b.jpg")),
            ("file:///shop/images/%2e%2e/b.jpg", Err(ImageError::Outside)),
            ("file://server/shop/images/a.jpg", Err(ImageError::Outside)),
            ("../secret.jpg", Err(ImageError::Outside)),
            ("a/../../secret.jpg", Err(ImageError::Outside)),
            ("/etc/passwd", Err(ImageError::Outside)),
            ("file:///etc/passwd", Err(ImageError::Outside)),
            ("file:etc/passwd", Err(ImageError::Outside)),
            ("/shop/imagesque/a.jpg", Err(ImageError::Outside)),
            ("link.jpg", Err(ImageError::Outside)),
            (".", Err(ImageError::Outside)),
            ("ftp://shop.example/a.jpg", Err(ImageError::Scheme)),
            ("javascript:alert(1)", Err(ImageError::Scheme)),
            ("data:image/png;base64,AAAA", Err(ImageError::Scheme)),
            ("archive:///etc/a.zip!/b", Err(ImageError::Scheme)),
            ("https://", Err(ImageError::Scheme)),
            ("", Err(ImageError::Malformed)),
            ("a\u{0}.jpg", Err(ImageError::Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_image(text, Some(&root())).as_ref().map(|image| image.0.as_str()), expected.as_ref().copied(), "{text}");
        }
        assert_eq!(parse_image("a.jpg", None), Err(ImageError::NoRoot));
        assert_eq!(parse_image("file:///shop/images/a.jpg", None), Err(ImageError::Outside));
    }

    #[test]
    fn lists_by_table() {
        let cases: [(&str, &[&str]); 6] = [
            ("a.jpg", &["a.jpg"]),
            ("a.jpg|b.jpg | c.jpg", &["a.jpg", "b.jpg", "c.jpg"]),
            ("a.jpg, b.jpg", &["a.jpg", "b.jpg"]),
            ("https://x.example/a,b.jpg, https://x.example/c.jpg", &["https://x.example/a,b.jpg", "https://x.example/c.jpg"]),
            ("https://x.example/a.jpg,https://x.example/b.jpg", &["https://x.example/a.jpg", "https://x.example/b.jpg"]),
            (" | ", &[]),
        ];
        for (cell, expected) in cases {
            assert_eq!(split_list(cell), expected, "{cell}");
        }
    }
}
