//! One source file as the rules see it: which paths its code names, what it declares, how long it is.
//! What is compiled for tests alone (`#[cfg(test)]`) is left out.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A path that code names, with what `use` brought in written out.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// Brought in by `use` or `extern crate`. Any other name without `::` is a variable or the like.
    pub(crate) is_import: bool,
}

fn named(ident: &syn::Ident) -> Named {
    Named { path: ident.to_string(), line: ident.span().start().line, is_import: false }
}

/// A function, with what the house style asks of one.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
    pub(crate) now_is_last: bool,
}

/// What the rules need to know of one file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) named: Vec<Named>,
    /// Modules and types that the file declares.
    pub(crate) declared: Vec<Named>,
    pub(crate) functions: Vec<Function>,
    /// Macros that it calls.
    pub(crate) macros: Vec<Named>,
    /// Methods that it calls.
    pub(crate) methods: Vec<Named>,
    /// Lines without those of test modules.
    pub(crate) lines: usize,
    pub(crate) is_no_std: bool,
    aliases: BTreeMap<String, String>,
}

impl Source {
    /// Reads one file.
    pub(crate) fn parse(text: &str) -> syn::Result<Source> {
        let file = syn::parse_file(text)?;
        let mut source = Source { lines: text.lines().count(), ..Source::default() };
        source.is_no_std = file.attrs.iter().any(|attr| attr.path().is_ident("no_std"));
        source.visit_file(&file);
        source.write_out_aliases();
        Ok(source)
    }

    fn name(&mut self, path: String, span: proc_macro2::Span) {
        self.named.push(Named { path, line: span.start().line, is_import: false });
    }

    fn import(&mut self, path: String, span: proc_macro2::Span) {
        self.named.push(Named { path, line: span.start().line, is_import: true });
    }

    fn note_use(&mut self, tree: &syn::UseTree, before: &str) {
        match tree {
            syn::UseTree::Path(path) => {
                let start = if before.is_empty() { String::new() } else { format!("{before}::") };
                self.note_use(&path.tree, &format!("{start}{}", path.ident));
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(tree, before)),
            syn::UseTree::Glob(glob) => self.import(format!("{before}::*"), glob.span()),
            syn::UseTree::Name(name) => self.note_import(before, &name.ident, &name.ident),
            syn::UseTree::Rename(rename) => self.note_import(before, &rename.ident, &rename.rename),
        }
    }

    fn note_import(&mut self, before: &str, item: &syn::Ident, alias: &syn::Ident) {
        let path = match (before, item.to_string().as_str()) {
            ("", item) => item.to_owned(),
            (before, "self") => before.to_owned(),
            (before, item) => format!("{before}::{item}"),
        };
        let alias = if alias == "self" {
            path.rsplit("::").next().unwrap_or_default().to_owned()
        } else {
            alias.to_string()
        };
        self.aliases.insert(alias, path.clone());
        self.import(path, item.span());
    }

    fn write_out_aliases(&mut self) {
        for named in self.named.iter_mut().filter(|named| !named.is_import) {
            let (first, rest) = named.path.split_once("::").unwrap_or((&named.path, ""));
            if let Some(full) = self.aliases.get(first)
                && full != first
                && !full.starts_with(&format!("{first}::"))
            {
                named.path = if rest.is_empty() { full.clone() } else { format!("{full}::{rest}") };
            }
        }
    }

    fn note_function(&mut self, sig: &syn::Signature, span: proc_macro2::Span) {
        let names: Vec<String> = sig.inputs.iter().map(argument).collect();
        self.functions.push(Function {
            name: sig.ident.to_string(),
            line: sig.ident.span().start().line,
            lines: span.end().line + 1 - sig.fn_token.span.start().line,
            now_is_last: names.iter().position(|name| name == "now").is_none_or(|at| at + 1 == names.len()),
        });
    }

    /// Macros hold tokens, not Rust: every `name::name` in them counts as a path.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.flush(&mut path, ident.span());
                    path.push(ident.to_string());
                }
                other => {
                    self.flush(&mut path, other.span());
                    if let TokenTree::Group(group) = other {
                        self.note_tokens(group.stream());
                    }
                }
            }
            colons = 0;
        }
        self.flush(&mut path, proc_macro2::Span::call_site());
    }

    fn flush(&mut self, path: &mut Vec<String>, span: proc_macro2::Span) {
        if path.len() > 1 {
            self.name(path.join("::"), span);
        }
        path.clear();
    }
}

fn argument(input: &syn::FnArg) -> String {
    match input {
        syn::FnArg::Typed(typed) => match &*typed.pat {
            syn::Pat::Ident(pat) => pat.ident.to_string(),
            _ => String::new(),
        },
        syn::FnArg::Receiver(_) => "self".to_owned(),
    }
}

fn is_for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) => attr.path().is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::NameValue(_) => false,
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_for_tests(attributes(item)) {
            self.lines -= item.span().end().line + 1 - item.span().start().line;
            return;
        }
        match item {
            syn::Item::Use(item) => self.note_use(&item.tree, ""),
            syn::Item::ExternCrate(item) => self.import(item.ident.to_string(), item.ident.span()),
            syn::Item::Mod(item) => {
                // `mod sled;` makes `sled::` mean our own module.
                self.aliases.insert(item.ident.to_string(), format!("self::{}", item.ident));
                self.declared.push(named(&item.ident));
            }
            syn::Item::Struct(item) => {
                self.declared.push(named(&item.ident));
            }
            syn::Item::Enum(item) => {
                self.declared.push(named(&item.ident));
            }
            syn::Item::Fn(item) => self.note_function(&item.sig, item.span()),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.note_function(&item.sig, item.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(parts.join("::"), path.span());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.macros.push(named(&last.ident));
        }
        self.note_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.methods.push(named(&call.method));
        visit::visit_expr_method_call(self, call);
    }
}
