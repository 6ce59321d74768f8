//! The questions and orders a rank takes from operators, each with the answer it has.

use std::time::Duration;

use common::id::{ClientId, Ino, MigrationId, Rank};
use common::migration::MigrationRecord;
use common::name::Name;
use common::wire::admin::{
    AdminReply, AdminRequest, Leftovers, Located, Repaired, Settlement, Status, SubtreeEntry,
};
use common::wire::fsck::{Position, Repair, Scanned};

use crate::cluster::{Cluster, ClusterError};

/// The answer of the one kind that fits, or what came instead.
macro_rules! answer {
    ($cluster:ident, $rank:expr, $request:expr, $kind:pat => $answer:expr) => {
        match $cluster.ask($rank, &$request)? {
            $kind => Ok($answer),
            reply => Err(instead($rank, reply)),
        }
    };
}

impl Cluster {
    /// # Errors
    /// As [`Cluster::ask`]; so all below.
    pub fn status(&mut self, rank: Rank) -> Result<Status, ClusterError> {
        answer!(self, rank, AdminRequest::Status, AdminReply::Status(status) => status)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn subtrees(&mut self, rank: Rank) -> Result<Vec<SubtreeEntry>, ClusterError> {
        answer!(self, rank, AdminRequest::Subtrees, AdminReply::Subtrees(subtrees) => subtrees)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn located(
        &mut self,
        rank: Rank,
        dir: Ino,
        names: Vec<Name>,
    ) -> Result<Located, ClusterError> {
        let request = AdminRequest::Locate { dir, names };
        answer!(self, rank, request, AdminReply::Located(located) => located)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn export(&mut self, rank: Rank, dir: Ino, to: Rank) -> Result<MigrationId, ClusterError> {
        let request = AdminRequest::Export { dir, to };
        answer!(self, rank, request, AdminReply::Exporting(id) => id)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn migrations(&mut self, rank: Rank) -> Result<Vec<MigrationRecord>, ClusterError> {
        answer!(self, rank, AdminRequest::Migrations, AdminReply::Migrations(records) => records)
    }

    /// Waits until a migration is over.
    ///
    /// # Errors
    /// See [`Self::status`]; [`ClusterError::Silent`] if it takes longer than `time`.
    pub fn migration_over(
        &mut self,
        id: MigrationId,
        time: Duration,
    ) -> Result<MigrationRecord, ClusterError> {
        let request = AdminRequest::AwaitMigration { id };
        let reply = self.ask_within(id.exporter, &request, time)?;
        if let AdminReply::MigrationOver(record) = reply {
            Ok(record)
        } else {
            Err(instead(id.exporter, reply))
        }
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn cancel(&mut self, id: MigrationId) -> Result<(), ClusterError> {
        let request = AdminRequest::CancelMigration { id };
        answer!(self, id.exporter, request, AdminReply::Cancelling => ())
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn evict(&mut self, rank: Rank, client: ClientId) -> Result<(), ClusterError> {
        let request = AdminRequest::EvictSession { client };
        answer!(self, rank, request, AdminReply::Evicted => ())
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn settle(
        &mut self,
        rank: Rank,
        id: MigrationId,
        verdict: Settlement,
    ) -> Result<(), ClusterError> {
        let request = AdminRequest::SettleMigration { id, verdict };
        answer!(self, rank, request, AdminReply::Settled => ())
    }

    /// Some of a rank's rows.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub fn scan(&mut self, rank: Rank, after: Option<Position>) -> Result<Scanned, ClusterError> {
        let request = AdminRequest::Scan { after };
        answer!(self, rank, request, AdminReply::Scanned(scanned) => scanned)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn repair(&mut self, rank: Rank, repair: Repair) -> Result<Repaired, ClusterError> {
        let request = AdminRequest::Repair(repair);
        answer!(self, rank, request, AdminReply::Repaired(repaired) => repaired)
    }

    /// # Errors
    /// See [`Self::status`].
    pub fn leftovers(&mut self, rank: Rank) -> Result<Leftovers, ClusterError> {
        answer!(self, rank, AdminRequest::Leftovers, AdminReply::Leftovers(counts) => counts)
    }
}

fn instead(rank: Rank, reply: AdminReply) -> ClusterError {
    if let AdminReply::Refused(error) = reply {
        ClusterError::RankRefuses { rank, error }
    } else {
        ClusterError::Unexpected { whom: format!("rank {rank}") }
    }
}
