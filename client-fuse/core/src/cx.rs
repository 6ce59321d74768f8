//! `Cx`: the parts that bringing a request to its answer may touch.

use common::time::Now;

use crate::atlas::Atlas;
use crate::effect::Effects;
use crate::number::NumberPool;
use crate::session::SessionTable;

#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) atlas: &'a mut Atlas,
    pub(crate) sessions: &'a mut SessionTable,
    pub(crate) numbers: &'a mut NumberPool,
    pub(crate) out: &'a mut Effects,
}
