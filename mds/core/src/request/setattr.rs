//! `setattr` (chmod, chown, truncate, utimens) and `wrote` (what a write does to attributes).

use common::attr::{FileKind, SetAttr};
use common::error::FsError;
use common::id::ClientId;
use common::limit::FILE_BYTES_MAX;
use common::wire::reply::Answer;
use common::wire::request::{Request, Target};

use super::{Done, target};
use crate::cx::{Cx, Step};
use crate::subtree::Intent;

/// # Errors
/// `Invalid` for a size of what has none, `FileTooLarge`; or why it does not go on.
pub fn setattr(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    target: &Target,
    set: &SetAttr,
) -> Step<Done> {
    let mut found = target::find(cx, target, Intent::Change)?;
    let kind = found.attr().kind;
    match set.size {
        Some(_) if kind == FileKind::Dir => return Err(FsError::IsDirectory.into()),
        Some(_) if kind != FileKind::File => return Err(FsError::Invalid.into()),
        Some(size) if size > FILE_BYTES_MAX => return Err(FsError::FileTooLarge.into()),
        Some(_) | None => {}
    }
    found.change_attr(|attr| set.apply(attr, request.at));
    changed(cx, client, found)
}

/// Bytes up to `end` were written: the size is at least that. It never shrinks by a write, so
/// writes of several clients need no order.
///
/// # Errors
/// `Invalid` for what is no file, `FileTooLarge`; or why it does not go on.
pub fn wrote(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    target: &Target,
    end: u64,
    kill_privileges: bool,
) -> Step<Done> {
    let mut found = target::find(cx, target, Intent::Change)?;
    if found.attr().kind != FileKind::File {
        return Err(FsError::Invalid.into());
    }
    if end > FILE_BYTES_MAX {
        return Err(FsError::FileTooLarge.into());
    }
    found.change_attr(|attr| {
        attr.size = attr.size.max(end);
        let set = SetAttr { mtime: Some(request.at), kill_privileges, ..SetAttr::default() };
        set.apply(attr, request.at);
    });
    changed(cx, client, found)
}

fn changed(cx: &mut Cx<'_>, client: ClientId, found: target::Found<'_>) -> Step<Done> {
    let attr = found.attr();
    let dir = found.embedded_in();
    found.store(cx);
    target::pin_admitted(cx, client, &attr, dir);
    Ok(Done::changed(Answer::Attr(attr)))
}
