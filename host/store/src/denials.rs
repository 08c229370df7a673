//! Refusals: one row for each kind, with how often it happened.
//!
//! What is asked for is the guest's to choose, so the number of kinds is bounded for each connection and for each flow's
//! transforms: the ones that were seen longest ago go, and are counted as left out. Totals by rule are kept apart, because rules are
//! the host's own and few.

use sqlx::any::AnyRow;
use stecker_model::{
    Digest, Name, PluginUse,
    api::{DenialFilter, DenialInfo, DenialList, DenialTotal, DenialsLeftOut},
};

use crate::{
    AuditEntry, Store, StoreError,
    accept::fingerprint,
    audit,
    sql::{Columns, Sql, Tx, pieces, readable, to_i64},
};

/// Kinds that are kept of one connection, or of one flow's transforms.
const KINDS: i64 = 200;
/// The most that one list shows.
const MOST: u32 = 1_000;

/// What a plugin was refused since the last time that it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDenials {
    /// The tenant.
    pub tenant: Name,
    /// Whose plugin it is.
    pub used_by: PluginUse,
    /// By kind.
    pub kinds: Vec<NewDenial>,
    /// By rule and layer, those included that are in none of the kinds.
    pub totals: Vec<DenialTotal>,
    /// How many refusals are in none of the kinds.
    pub left_out: u64,
}

/// Refusals of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDenial {
    /// The release that asked.
    pub release: Digest,
    /// `namespace/name@version`.
    pub plugin: String,
    /// The rule that refused.
    pub rule: String,
    /// Who said no.
    pub layer: String,
    /// What was asked for.
    pub asked: String,
    /// The least that would allow it.
    pub smallest_grant: String,
    /// When it happened first.
    pub first_seen: i64,
    /// When it happened last.
    pub last_seen: i64,
    /// How often.
    pub count: u64,
}

impl NewDenial {
    /// Names the kind, on every node alike.
    fn id(&self, used_by: &PluginUse) -> String {
        let digest = fingerprint(&[
            used_by.kind(),
            used_by.name().as_str(),
            self.release.as_str(),
            &self.rule,
            &self.layer,
            &self.asked,
        ]);
        let mut id = hex::encode(digest);
        id.truncate(16);
        id
    }
}

impl Store {
    /// Adds refusals to what is known of their kinds. Of the kinds beyond 200 the ones seen longest ago go.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_denials(&self, new: &NewDenials) -> Result<(), StoreError> {
        let mut tx = self.begin_tx().await?;
        // One order for everybody, so that nodes which write the same kinds do not wait for each other crosswise.
        let mut kinds: Vec<(String, &NewDenial)> = new
            .kinds
            .iter()
            .map(|denial| (denial.id(&new.used_by), denial))
            .collect();
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        for piece in pieces(&kinds) {
            put_kinds(&mut tx, new, piece).await?;
        }
        let mut totals: Vec<&DenialTotal> = new.totals.iter().collect();
        totals.sort_by(|a, b| (&a.rule, &a.layer).cmp(&(&b.rule, &b.layer)));
        for total in totals {
            sqlx::query(
                "INSERT INTO denial_totals (tenant, rule, layer, times) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, rule, layer) DO UPDATE SET times = denial_totals.times + excluded.times",
            )
            .bind(new.tenant.as_str())
            .bind(readable(&total.rule).into_owned())
            .bind(readable(&total.layer).into_owned())
            .bind(to_i64(total.count))
            .execute(&mut *tx)
            .await?;
        }
        let left_out = new.left_out.saturating_add(evict(&mut tx, new).await?);
        if left_out > 0 {
            sqlx::query(
                "INSERT INTO denials_left_out (tenant, kind, name, times) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, kind, name) DO UPDATE SET times = denials_left_out.times + excluded.times",
            )
            .bind(new.tenant.as_str())
            .bind(new.used_by.kind())
            .bind(new.used_by.name().as_str())
            .bind(to_i64(left_out))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Refusals that match a filter, the latest first; at most 1,000.
    ///
    /// # Errors
    /// The database fails.
    pub async fn denials(&self, tenant: &Name, filter: &DenialFilter) -> Result<DenialList, StoreError> {
        let mut sql = Sql::new("SELECT * FROM denials WHERE tenant = ");
        sql.bind(tenant.as_str());
        narrow(&mut sql, filter);
        if let Some(rule) = &filter.rule {
            sql.push(" AND rule = ").bind(readable(rule).into_owned());
        }
        if let Some(since) = filter.since {
            sql.push(" AND last_seen >= ").bind(since);
        }
        sql.push(" ORDER BY last_seen DESC, id LIMIT ")
            .bind(i64::from(filter.limit.unwrap_or(200).clamp(1, MOST)));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        let denials = rows.iter().map(info).collect::<Result<_, _>>()?;
        let mut sql = Sql::new("SELECT kind, name, times FROM denials_left_out WHERE tenant = ");
        sql.bind(tenant.as_str());
        narrow(&mut sql, filter);
        sql.push(" ORDER BY kind, name");
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        let left_out = rows
            .iter()
            .map(|row| {
                let (connection, flow) = used_by(row)?.split();
                Ok(DenialsLeftOut {
                    connection,
                    flow,
                    count: row.count("times")?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(DenialList { denials, left_out })
    }

    /// The refusals of one kind.
    ///
    /// # Errors
    /// The database fails.
    pub async fn denial(&self, tenant: &Name, id: &str) -> Result<Option<DenialInfo>, StoreError> {
        let row = sqlx::query("SELECT * FROM denials WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(readable(id).into_owned())
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(info).transpose()
    }

    /// Forgets refusals, of one connection or of all connections and flows; returns how many kinds there were. The totals stay.
    ///
    /// # Errors
    /// The database fails.
    pub async fn clear_denials(
        &self,
        tenant: &Name,
        connection: Option<&Name>,
        actor: &str,
        now: i64,
    ) -> Result<u64, StoreError> {
        let filter = DenialFilter {
            connection: connection.cloned(),
            ..DenialFilter::default()
        };
        let mut tx = self.begin_tx().await?;
        let mut cleared = 0;
        for table in ["DELETE FROM denials_left_out", "DELETE FROM denials"] {
            let mut sql = Sql::new(table);
            sql.push(" WHERE tenant = ").bind(tenant.as_str());
            narrow(&mut sql, &filter);
            // The last one is the number to tell.
            cleared = sql.query(tx.backend())?.execute(&mut *tx).await?.rows_affected();
        }
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "denials.clear".to_owned(),
            subject: connection.map_or_else(|| "denials".to_owned(), |name| format!("connection/{name}")),
            detail: serde_json::json!({ "kinds": cleared }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        tx.commit().await?;
        Ok(cleared)
    }

    /// How often each rule refused anything in a tenant, ever.
    ///
    /// # Errors
    /// The database fails.
    pub async fn denial_totals(&self, tenant: &Name) -> Result<Vec<DenialTotal>, StoreError> {
        let rows = sqlx::query(
            "SELECT rule, layer, times FROM denial_totals WHERE tenant = $1 ORDER BY rule, layer",
        )
        .bind(tenant.as_str())
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(DenialTotal {
                    rule: row.text("rule")?,
                    layer: row.text("layer")?,
                    count: row.count("times")?,
                })
            })
            .collect()
    }
}

fn narrow(sql: &mut Sql, filter: &DenialFilter) {
    for (kind, name) in [("connection", &filter.connection), ("flow", &filter.flow)] {
        if let Some(name) = name {
            sql.push(" AND kind = ").bind(kind);
            sql.push(" AND name = ").bind(name.as_str());
        }
    }
}

async fn put_kinds(tx: &mut Tx, new: &NewDenials, piece: &[(String, &NewDenial)]) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO denials (tenant, id, kind, name, release, plugin, rule, layer, asked, smallest_grant, first_seen, \
         last_seen, times) VALUES ",
    );
    sql.rows(piece, |row, (id, denial)| {
        row.value(new.tenant.as_str())
            .value(id.as_str())
            .value(new.used_by.kind())
            .value(new.used_by.name().as_str())
            .value(denial.release.as_str())
            .value(readable(&denial.plugin).into_owned())
            .value(readable(&denial.rule).into_owned())
            .value(readable(&denial.layer).into_owned())
            .value(readable(&denial.asked).into_owned())
            .value(readable(&denial.smallest_grant).into_owned())
            .value(denial.first_seen)
            .value(denial.last_seen)
            .value(to_i64(denial.count));
    });
    sql.push(
        " ON CONFLICT (tenant, id) DO UPDATE SET times = denials.times + excluded.times, \
         smallest_grant = excluded.smallest_grant, \
         last_seen = CASE WHEN excluded.last_seen > denials.last_seen THEN excluded.last_seen ELSE denials.last_seen END",
    );
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    Ok(())
}

/// Makes room; how many refusals the kinds had that went.
async fn evict(tx: &mut Tx, new: &NewDenials) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "DELETE FROM denials WHERE tenant = $1 AND kind = $2 AND name = $3 AND id NOT IN \
         (SELECT id FROM denials WHERE tenant = $1 AND kind = $2 AND name = $3 ORDER BY last_seen DESC, id LIMIT $4) \
         RETURNING times",
    )
    .bind(new.tenant.as_str())
    .bind(new.used_by.kind())
    .bind(new.used_by.name().as_str())
    .bind(KINDS)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| row.count("times")).sum()
}

/// What a row's `kind` and `name` say.
pub(crate) fn used_by(row: &AnyRow) -> Result<PluginUse, StoreError> {
    let kind = row.text("kind")?;
    PluginUse::of(&kind, row.parsed("name")?)
        .ok_or_else(|| StoreError::corrupt("column kind", format!("`{kind}` is no use of a plugin")))
}

fn info(row: &AnyRow) -> Result<DenialInfo, StoreError> {
    let used_by = used_by(row)?;
    let (plugin, layer) = (row.text("plugin")?, row.text("layer")?);
    let smallest_grant = row.text("smallest_grant")?;
    let goes_into = if smallest_grant.is_empty() {
        String::new()
    } else {
        DenialInfo::place(&layer, &used_by, &plugin)
    };
    let (connection, flow) = used_by.split();
    Ok(DenialInfo {
        id: row.text("id")?,
        connection,
        flow,
        release: row.parsed("release")?,
        plugin,
        rule: row.text("rule")?,
        layer,
        asked: row.text("asked")?,
        smallest_grant,
        goes_into,
        first_seen_at: row.int("first_seen")?,
        last_seen_at: row.int("last_seen")?,
        count: row.count("times")?,
    })
}
