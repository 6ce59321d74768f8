//! `Effect`: everything a client can ask for.

use std::net::SocketAddr;

use common::attr::{Attr, FileKind};
use common::error::FsError;
use common::id::{Incarnation, Ino, Rank, RequestId};
use common::name::Name;
use common::time::Monotonic;
use common::wire::reply::{InTheWay, PageEnd};
use common::wire::request::{XattrName, XattrValue};
use common::wire::session::ToMds;

use crate::capability::NEVER;
use crate::input::{CallId, InvalidationId, LinkId};
use crate::timer::Timer;

/// Closed and complete. Drivers carry effects out in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Connect, say hello, report `Connected` or `Disconnected`.
    Connect {
        link: LinkId,
        rank: Rank,
        incarnation: Incarnation,
        addr: SocketAddr,
    },
    /// Close the connection after what was sent. Nothing more is expected of it.
    Disconnect {
        link: LinkId,
    },
    /// Ordered among all messages of that link.
    Send {
        link: LinkId,
        message: ToMds,
    },
    Answer {
        call: CallId,
        result: Result<Done, FsError>,
        /// Until when the kernel may use it again. Past: not at all.
        until: Monotonic,
        /// The request by which a rank has changed something for it.
        change: Option<RequestId>,
    },
    /// Setting a timer again moves it.
    SetTimer {
        timer: Timer,
        at: Monotonic,
    },
    StopTimer(Timer),
    /// Somebody else moved or removed what this name stood for: the kernel may let go of it. Whether
    /// and when it does is of no consequence but for what we hold until then.
    DropName {
        dir: Ino,
        name: Name,
    },
    /// What the kernel has cached of these names of a directory, and of the attributes of these inodes, is
    /// not true any more. Reported by [`Input::Invalidated`](crate::Input::Invalidated) when the kernel
    /// knows. May block, so nothing waits for it here.
    Invalidate {
        id: InvalidationId,
        names: Option<(Ino, Vec<Name>)>,
        inodes: Vec<Ino>,
    },
    /// The kernel is to ask for every name again, and for the attributes of these inodes. Takes effect
    /// before the next effect.
    DropCaches {
        inodes: Vec<Ino>,
    },
    /// A change that was answered was not made, or nobody knows whether it was.
    Lost {
        change: RequestId,
    },
    /// Neither the kernel nor a handle refers to the file any more: what is open of it may close.
    Forgotten {
        ino: Ino,
    },
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    Nothing,
    /// To lookup, create, mkdir, link: the kernel refers to it once more.
    Entry(Attr),
    Attr(Attr),
    Listing(Listing),
    Symlink(Vec<u8>),
    Xattr(XattrValue),
    XattrNames(Vec<XattrName>),
    InTheWay(Option<InTheWay>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    /// What `..` stands for, as far as it is known.
    pub parent: Ino,
    pub entries: Vec<Entry>,
    pub end: PageEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub name: Name,
    pub cookie: u64,
    pub ino: Ino,
    pub kind: FileKind,
    pub at: Option<Rank>,
    /// Of every entry if they were asked for.
    pub attr: Option<Attr>,
}

/// The effects of one input, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effects {
    /// For drivers: takes everything out.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.list.drain(..)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn take_answers(&mut self) -> Vec<Effect> {
        self.list.extract_if(.., |effect| matches!(effect, Effect::Answer { .. })).collect()
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(crate) fn send(&mut self, link: LinkId, message: ToMds) {
        self.push(Effect::Send { link, message });
    }

    /// An answer that no rank has given.
    pub(crate) fn answer(&mut self, call: CallId, result: Result<Done, FsError>) {
        self.push(Effect::Answer { call, result, until: NEVER, change: None });
    }

    pub(crate) fn set_timer(&mut self, timer: Timer, at: Monotonic) {
        self.push(Effect::SetTimer { timer, at });
    }
}
