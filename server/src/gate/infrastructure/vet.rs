//! Looks through the modules of operators before they are ever run: their package, their size, and what they call.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Module, Query, Rule, RuleHead, Span};

use super::bounded::FUNCTIONS;

/// What is wrong with a module, and where.
pub(super) struct Objection {
    /// From 1.
    pub(super) line: u32,
    pub(super) problem: String,
}

impl Objection {
    fn at(span: &Span, problem: String) -> Objection {
        Objection { line: span.line, problem }
    }
}

/// The module's package, such as `tidegate.infrastructure.custom`; none if a part of it is more than a name.
pub(super) fn package(module: &Module) -> Option<String> {
    path(&module.package.refr)
}

/// The names of a module's rules and functions.
pub(super) fn rules(module: &Module) -> BTreeSet<String> {
    let head = |rule: &Rule| match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => {
                first(refr)
            }
        },
        Rule::Default { refr, .. } => first(refr),
    };
    module.policy.iter().filter_map(|rule| head(rule)).collect()
}

/// Whether a module calls only what it can, and stands in for nothing but its input.
pub(super) fn check(module: &Module, own: &BTreeSet<String>) -> Result<(), Objection> {
    let mut aliases = BTreeMap::new();
    for import in &module.imports {
        let whole = path(&import.refr).unwrap_or_default();
        let last = whole.rsplit('.').next().unwrap_or_default().to_owned();
        aliases.insert(import.r#as.as_ref().map_or(last, |name| name.text().to_owned()), whole);
    }
    let mut left = Vec::new();
    for rule in &module.policy {
        take_rule(rule, &mut left);
    }
    while let Some(part) = left.pop() {
        match part {
            Part::Query(query) => take_query(query, &mut left)?,
            Part::Expr(expr) => {
                if let Expr::Call { span, fcn, .. } = expr {
                    check_call(span, fcn, own, &aliases)?;
                }
                take_expr(expr, &mut left);
            }
        }
    }
    Ok(())
}

fn check_call(
    span: &Span,
    function: &Expr,
    own: &BTreeSet<String>,
    aliases: &BTreeMap<String, String>,
) -> Result<(), Objection> {
    let name = path(function).unwrap_or_default();
    let start = name.split('.').next().unwrap_or_default();
    let imported = aliases.get(start).is_some_and(|whole| whole.starts_with("data."));
    if FUNCTIONS.contains(&name.as_str()) || own.contains(&name) || start == "data" || imported {
        return Ok(());
    }
    let shown: String = name.chars().take(60).collect();
    Err(Objection::at(
        span,
        format!(
            "`{shown}` cannot be called. A policy sees the plan and nothing else; it can call functions of its own, and \
             those of Rego that the documentation lists"
        ),
    ))
}

/// What is still to be looked at. Not by recursion: a reference can be longer than a stack is deep.
enum Part<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

fn take_rule<'a>(rule: &'a Rule, left: &mut Vec<Part<'a>>) {
    match rule {
        Rule::Default { args, value, .. } => {
            left.push(Part::Expr(value));
            left.extend(args.iter().map(|arg| Part::Expr(arg)));
        }
        Rule::Spec { head, bodies, .. } => {
            let assign = match head {
                RuleHead::Compr { refr, assign, .. } => {
                    left.push(Part::Expr(refr));
                    assign
                }
                RuleHead::Set { refr, key, .. } => {
                    left.push(Part::Expr(refr));
                    left.extend(key.iter().map(|key| Part::Expr(key)));
                    &None
                }
                RuleHead::Func { args, assign, .. } => {
                    left.extend(args.iter().map(|arg| Part::Expr(arg)));
                    assign
                }
            };
            let assigned = bodies.iter().filter_map(|body| body.assign.as_ref()).chain(assign);
            left.extend(assigned.map(|assign| Part::Expr(&assign.value)));
            left.extend(bodies.iter().map(|body| Part::Query(&body.query)));
        }
    }
}

fn take_query<'a>(query: &'a Query, left: &mut Vec<Part<'a>>) -> Result<(), Objection> {
    for statement in &query.stmts {
        for with in &statement.with_mods {
            let target = path(&with.refr).unwrap_or_default();
            if !matches!(target.split('.').next(), Some("input" | "data")) {
                let problem = "`with` can stand in for `input` and `data`, not for functions".to_owned();
                return Err(Objection::at(&with.span, problem));
            }
            left.push(Part::Expr(&with.r#as));
        }
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                left.extend(key.iter().map(|key| Part::Expr(key)));
                left.extend([Part::Expr(value), Part::Expr(collection)]);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => left.push(Part::Expr(expr)),
            Literal::Every { domain, query, .. } => left.extend([Part::Expr(domain), Part::Query(query)]),
        }
    }
    Ok(())
}

fn take_expr<'a>(expr: &'a Expr, left: &mut Vec<Part<'a>>) {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            left.extend(items.iter().map(|item| Part::Expr(item)))
        }
        Expr::Object { fields, .. } => {
            left.extend(fields.iter().flat_map(|(_, key, value)| [Part::Expr(key), Part::Expr(value)]));
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            left.extend([Part::Expr(term), Part::Query(query)]);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            left.extend([Part::Expr(key), Part::Expr(value), Part::Query(query)]);
        }
        Expr::Call { params, .. } => left.extend(params.iter().map(|param| Part::Expr(param))),
        Expr::UnaryExpr { expr, .. } => left.push(Part::Expr(expr)),
        Expr::RefDot { refr, .. } => left.push(Part::Expr(refr)),
        Expr::RefBrack { refr, index, .. } => left.extend([Part::Expr(refr), Part::Expr(index)]),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => left.extend([Part::Expr(lhs), Part::Expr(rhs)]),
        Expr::Membership { key, value, collection, .. } => {
            left.extend(key.iter().map(|key| Part::Expr(key)));
            left.extend([Part::Expr(value), Part::Expr(collection)]);
        }
    }
}

/// The names of a reference, joined by dots; none if it holds anything but names and texts.
fn path(reference: &Expr) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut rest = reference;
    loop {
        match rest {
            Expr::RefDot { refr, field, .. } => {
                names.push(field.0.text());
                rest = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                let Expr::String { span, .. } = index.as_ref() else { return None };
                names.push(span.text().trim_matches('"'));
                rest = refr;
            }
            Expr::Var { span, .. } => {
                names.push(span.text());
                break;
            }
            _ => return None,
        }
    }
    names.reverse();
    Some(names.join("."))
}

/// The first name of a reference.
fn first(reference: &Expr) -> Option<String> {
    let mut rest = reference;
    loop {
        match rest {
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => rest = refr,
            Expr::Var { span, .. } => return Some(span.text().to_owned()),
            _ => return None,
        }
    }
}
