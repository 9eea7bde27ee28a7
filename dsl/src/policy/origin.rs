//! Where the values of a result's column come from: columns of tables, by the names that rules have for them.

/// A column of a table, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The schema of the table; None where it could be any.
    pub schema: Option<String>,
    /// The table; None where it could be any.
    pub table: Option<String>,
    /// The column.
    pub column: String,
}

/// What is known of where the values of a column come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Nothing is ever told: the column goes by the name that it has in the result.
    #[default]
    Untold,
    /// From these and nothing else. None of them: no column of a table is read.
    Of(Vec<Origin>),
    /// From some column, and it can't be told from which.
    Unknown,
}

impl Origin {
    /// Whether `name` may mean this column: `column`, `table.column` or `schema.table.column`, ASCII case ignored. What isn't known
    /// of the one or isn't said by the other differs in nothing.
    #[must_use]
    pub fn answers(&self, name: &str) -> bool {
        let known = [Some(&self.column), self.table.as_ref(), self.schema.as_ref()];
        let mut parts = name.rsplitn(3, '.').zip(known);
        parts.all(|(part, known)| known.is_none_or(|known| known.eq_ignore_ascii_case(part)))
    }

    /// The names that surely mean this column, as the database spells them.
    pub(crate) fn names(&self) -> Vec<String> {
        let Self { schema, table, column } = self;
        let mut names = vec![column.clone()];
        if let Some(table) = table {
            names.push(format!("{table}.{column}"));
            names.extend(schema.as_ref().map(|schema| format!("{schema}.{table}.{column}")));
        }
        names
    }

    /// The names of its table.
    pub(crate) fn tables(&self) -> Vec<String> {
        let table = self.table.iter().cloned();
        table.chain(self.schema.iter().zip(&self.table).map(|(schema, table)| format!("{schema}.{table}"))).collect()
    }
}

impl Origins {
    /// Whether a column of this name may be among them.
    #[must_use]
    pub fn answer(&self, name: &str) -> bool {
        match self {
            Self::Untold => false,
            Self::Of(origins) => origins.iter().any(|origin| origin.answers(name)),
            Self::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(schema: Option<&str>, table: Option<&str>, column: &str) -> Origin {
        Origin { schema: schema.map(str::to_owned), table: table.map(str::to_owned), column: column.to_owned() }
    }

    #[test]
    fn a_column_answers_to_its_name_with_as_much_before_it_as_is_said() {
        let email = origin(Some("public"), Some("customer"), "email");
        for name in ["email", "EMAIL", "customer.email", "public.customer.email"] {
            assert!(email.answers(name), "{name}");
        }
        for name in ["mail", "x.email", "x.customer.email", "db.public.customer.email", "customer", ""] {
            assert!(!email.answers(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_could_be_anything() {
        assert!(origin(None, Some("customer"), "email").answers("public.customer.email"));
        assert!(origin(None, None, "email").answers("customer.email"));
        assert!(!origin(None, None, "email").answers("customer.name"));
        assert!(Origins::Unknown.answer("email") && !Origins::Untold.answer("email"));
        assert!(!Origins::Of(Vec::new()).answer("email"));
    }
}
