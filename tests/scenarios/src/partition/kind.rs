//! What can be cut.

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A host and the database, for a while; what was sent meanwhile arrives late.
    Database,
    /// Only what the host sends.
    DatabaseHears,
    /// Only what the database answers.
    DatabaseAnswers,
    /// A host and the database, for good on the connections that there are, which stay open.
    DatabaseSwallowed,
    /// The connections of a host to the database end.
    DatabaseReset,
    /// The answer to a commit.
    CommitAnswered,
    /// A commit and its answer.
    Commit,
    /// Both hosts and the database.
    BothHosts,
    /// The hosts and the destination, while the database can be reached.
    Upstream,
    /// What the destination answers after it has done what it was asked to.
    UpstreamAnswers,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Database,
        Self::DatabaseHears,
        Self::DatabaseAnswers,
        Self::DatabaseSwallowed,
        Self::DatabaseReset,
        Self::CommitAnswered,
        Self::Commit,
        Self::BothHosts,
        Self::Upstream,
        Self::UpstreamAnswers,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::DatabaseHears => "database-hears",
            Self::DatabaseAnswers => "database-answers",
            Self::DatabaseSwallowed => "database-swallowed",
            Self::DatabaseReset => "database-reset",
            Self::CommitAnswered => "commit-answered",
            Self::Commit => "commit",
            Self::BothHosts => "both-hosts",
            Self::Upstream => "upstream",
            Self::UpstreamAnswers => "upstream-answers",
        }
    }

    /// Whether one host cannot work on while this lasts, so that the other has to.
    pub(super) const fn is_of_one_host(self) -> bool {
        matches!(
            self,
            Self::Database | Self::DatabaseHears | Self::DatabaseAnswers | Self::DatabaseSwallowed
        )
    }
}
