//! `readlink`: a symlink's target.

use common::attr::FileKind;
use common::error::FsError;
use common::wire::reply::Answer;
use common::wire::request::Target;

use super::{Done, target};
use crate::cx::{Cx, Step};
use crate::subtree::Intent;

/// # Errors
/// `Invalid` if it is no symlink; or why it does not go on.
pub fn readlink(cx: &mut Cx<'_>, target: &Target) -> Step<Done> {
    let found = target::find(cx, target, Intent::Read)?;
    match found.inode() {
        Some(inode) if inode.attr.kind == FileKind::Symlink => {
            Ok(Done::read(Answer::Symlink(inode.symlink.to_vec())))
        }
        Some(_) | None => Err(FsError::Invalid.into()),
    }
}
