"""How a report looks, from a phone to a wide screen, and on paper."""

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --ground: #f6f8fa; --link: #0a5ca8;
  --good: #00694c; --care: #9a4700; --bad: #a40e26; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; color: var(--ink); background: #fff; overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 64px; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 0 0 8px; font-size: 1.2rem; line-height: 1.3; }
p { margin: 0 0 12px; max-width: 72ch; }
a { color: var(--link); }
.about { margin: 4px 0 16px; color: var(--soft); }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 250px), 1fr)); gap: 12px; }
.answer { padding: 12px 14px; border: 1px solid var(--line); border-top: 4px solid var(--soft); border-radius: 6px;
  background: var(--ground); }
.answer h2 { margin: 0; font-size: .875rem; font-weight: 500; color: var(--soft); }
.answer p { margin: 0; font-size: .9375rem; line-height: 1.45; }
.answer .word { margin: 2px 0 4px; font-size: 1.3rem; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.good { border-top-color: var(--good); } .good .word { color: var(--good); }
.care { border-top-color: var(--care); } .care .word { color: var(--care); }
.bad { border-top-color: var(--bad); } .bad .word { color: var(--bad); }
.first { margin: 16px 0 8px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 10px 0; border-top: 1px solid var(--line);
  border-bottom: 1px solid var(--line); font-size: .9375rem; }
nav a { padding: 4px 0; text-decoration: none; } nav a:hover { text-decoration: underline; }
section { padding: 24px 0 4px; scroll-margin-top: 8px; }
section + section { border-top: 1px solid var(--line); }
.wide { max-width: 100%; overflow-x: auto; }
.wide:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; margin: 0 0 8px; font-size: .9375rem; line-height: 1.4; }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
th, td { overflow-wrap: break-word; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums; }
.numbers td { white-space: nowrap; }
.words tbody th { color: var(--soft); min-width: 7em; }
.words td:nth-child(2):last-child { overflow-wrap: anywhere; }
tr > :last-child { padding-right: 0; }
.note, figcaption { font-size: .875rem; color: var(--soft); line-height: 1.45; max-width: 72ch; }
.missing { padding: 8px 12px; border-left: 3px solid var(--line); background: var(--ground); font-size: .9375rem;
  color: var(--soft); }
.missing strong { font-weight: 600; color: var(--ink); }
.side-by-side { display: grid; gap: 8px 32px; align-items: start; }
.side-by-side > * { min-width: 0; }
.pictures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 310px), 1fr)); }
.tables { grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0 0 16px; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; }
figcaption { margin-top: 4px; }
pre { margin: 0 0 12px; padding: 8px 12px; background: var(--ground); border-radius: 6px; font-size: .875rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
details { margin: 0 0 12px; } summary { cursor: pointer; padding: 6px 0; color: var(--link); }
@media (max-width: 600px) { table { font-size: .875rem; } th, td { padding-right: 11px; } }
@media (min-width: 900px) { main { padding-top: 36px; } .wide img { max-width: 100%; } }
@media print { nav { display: none; } section { break-inside: avoid; } .wide { overflow: visible; }
  .wide img { max-width: 100%; } }
"""
