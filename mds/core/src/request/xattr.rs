//! Extended attributes: stored ones, and `grove.dir.*`, which are computed or have an effect.

use common::error::FsError;
use common::id::Rank;
use common::limit::{XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX};
use common::wire::reply::Answer;
use common::wire::request::{Request, Target, XattrName, XattrSet, XattrValue, Xattrs};

use super::Done;
use super::target::{Found, find};
use crate::cx::{Cx, Step};
use crate::effect::Effect;
use crate::row::DIR_LOST;
use crate::subtree::Intent;
use crate::timer::Timer;

/// Which rank is the authority for a directory. Read only.
pub const DIR_AUTH: &[u8] = b"grove.dir.auth";
/// The rank to which the subtree goes and where it stays; `-1` or absent: wherever it is.
pub const DIR_PIN: &[u8] = b"grove.dir.pin";
const VIRTUAL: &[u8] = b"grove.";

/// # Errors
/// `NoAttribute`; or why it does not go on.
pub fn get(cx: &mut Cx<'_>, target: &Target, name: &XattrName) -> Step<Done> {
    let found = find(cx, target, Intent::Read)?;
    let value = if name.0.starts_with(VIRTUAL) {
        virtual_value(cx, &found, name)?
    } else {
        found.xattrs().get(name).cloned().ok_or(FsError::NoAttribute)?
    };
    Ok(Done::read(Answer::Xattr(value)))
}

fn virtual_value(cx: &Cx<'_>, found: &Found<'_>, name: &XattrName) -> Step<XattrValue> {
    let Found::Dir { dir, .. } = found else { return Err(FsError::NoAttribute.into()) };
    let text = match &*name.0 {
        DIR_AUTH => cx.me().to_string(),
        DIR_PIN => dir.pin.ok_or(FsError::NoAttribute)?.to_string(),
        DIR_LOST => return Ok(dir.xattrs.get(name).cloned().ok_or(FsError::NoAttribute)?),
        _ => return Err(FsError::NoAttribute.into()),
    };
    Ok(XattrValue(text.into_bytes().into()))
}

/// # Errors
/// `Exists`, `NoAttribute` (as the mode asks), `TooBig`, `NoSpace` if all attributes together are
/// too large, `Invalid` for a rank that is none; or why it does not go on.
pub fn set(
    cx: &mut Cx<'_>,
    request: &Request,
    target: &Target,
    (name, value): (&XattrName, &XattrValue),
    mode: XattrSet,
) -> Step<Done> {
    if name.0.is_empty() || name.0.len() > XATTR_NAME_BYTES_MAX {
        return Err(FsError::Range.into());
    }
    if value.0.len() > XATTR_VALUE_BYTES_MAX {
        return Err(FsError::TooBig.into());
    }
    let mut found = find(cx, target, Intent::Change)?;
    if name.0.starts_with(VIRTUAL) {
        set_virtual(cx, &mut found, name, Some(value))?;
    } else {
        let xattrs = found.xattrs_mut();
        match mode {
            XattrSet::Create if xattrs.contains_key(name) => return Err(FsError::Exists.into()),
            XattrSet::Replace if !xattrs.contains_key(name) => {
                return Err(FsError::NoAttribute.into());
            }
            XattrSet::Any | XattrSet::Create | XattrSet::Replace => {}
        }
        xattrs.insert(name.clone(), value.clone());
        if total_bytes(xattrs) > XATTR_TOTAL_BYTES_MAX {
            return Err(FsError::NoSpace.into());
        }
    }
    Ok(changed(cx, request, found))
}

fn set_virtual(
    cx: &mut Cx<'_>,
    found: &mut Found<'_>,
    name: &XattrName,
    value: Option<&XattrValue>,
) -> Step<()> {
    let Found::Dir { dir, .. } = found else { return Err(FsError::NotDirectory.into()) };
    match (&*name.0, value) {
        (DIR_PIN, Some(value)) => dir.pin = parse_pin(cx, value)?,
        (DIR_PIN, None) => dir.pin = None,
        (DIR_LOST, None) => {
            dir.xattrs.remove(name).ok_or(FsError::NoAttribute)?;
        }
        (_, Some(_)) => return Err(FsError::NotPermitted.into()),
        (_, None) => return Err(FsError::NoAttribute.into()),
    }
    // It need not wait for the next look around.
    cx.out.push(Effect::SetTimer { timer: Timer::Pins, at: cx.now.monotonic });
    Ok(())
}

/// A rank's number in decimal, or `-1`. It need not be active, but the map must know it.
fn parse_pin(cx: &Cx<'_>, value: &XattrValue) -> Result<Option<Rank>, FsError> {
    let text = std::str::from_utf8(&value.0).map_err(|_| FsError::Invalid)?.trim();
    if text == "-1" {
        return Ok(None);
    }
    let rank = Rank(text.parse().map_err(|_| FsError::Invalid)?);
    if cx.map.ranks.contains_key(&rank) { Ok(Some(rank)) } else { Err(FsError::Invalid) }
}

/// # Errors
/// Why it does not go on.
pub fn list(cx: &mut Cx<'_>, target: &Target) -> Step<Done> {
    let found = find(cx, target, Intent::Read)?;
    Ok(Done::read(Answer::XattrNames(found.xattrs().keys().cloned().collect())))
}

/// # Errors
/// `NoAttribute`; or why it does not go on.
pub fn remove(cx: &mut Cx<'_>, request: &Request, target: &Target, name: &XattrName) -> Step<Done> {
    let mut found = find(cx, target, Intent::Change)?;
    if name.0.starts_with(VIRTUAL) {
        set_virtual(cx, &mut found, name, None)?;
    } else if found.xattrs_mut().remove(name).is_none() {
        return Err(FsError::NoAttribute.into());
    }
    Ok(changed(cx, request, found))
}

fn changed(cx: &mut Cx<'_>, request: &Request, mut found: Found<'_>) -> Done {
    found.change_attr(|attr| attr.times.ctime = request.at);
    found.store(cx);
    Done::changed(Answer::Done)
}

fn total_bytes(xattrs: &Xattrs) -> usize {
    xattrs.iter().map(|(name, value)| name.0.len() + value.0.len()).sum()
}
