//! The console of operators: sign-in, navigation, and the screens, each of which is loaded when it is opened first.

import { effect, signal } from "@preact/signals";
import { render, type ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { useAlerts } from "./alerts";
import { call, type ApiError } from "./api";
import { live, offline, reload } from "./data";
import { plural } from "./format";
import { listen, shortcuts, useShortcuts } from "./keyboard";
import { Palette } from "./palette";
import { usePending } from "./pending";
import { go, place, section, to } from "./router";
import { key, restore, signOut } from "./session";
import { SignIn, unknownKey } from "./sign-in";
import { applyTheme, nextTheme, theme } from "./theme";
import { Dialog, Empty, Icon, Page, Skeleton, Toasts, type IconName } from "./ui/basic";
// What several screens use is loaded with the page: a screen that imports it then needs one file, and not one after another.
import "./providers";
import "./spending";
import "./ui/limits";
import "./ui/strip";
import "./usage";

type Screen = ComponentType;
interface Section {
  name: string;
  title: string;
  icon: IconName;
  letter: string;
  /** The section whose entry of the rail it belongs to, if it has none of its own. */
  within?: string;
  load: () => Promise<{ default: Screen }>;
}

const SECTIONS: Section[] = [
  {
    name: "overview",
    title: "Overview",
    icon: "overview",
    letter: "o",
    load: () => import("./screens/overview"),
  },
  {
    name: "requests",
    title: "Requests",
    icon: "requests",
    letter: "r",
    load: () => import("./screens/requests"),
  },
  { name: "keys", title: "Keys", icon: "keys", letter: "k", load: () => import("./screens/keys") },
  {
    name: "policies",
    title: "Policies",
    icon: "policies",
    letter: "p",
    load: () => import("./screens/policies"),
  },
  {
    name: "activity",
    title: "Activity",
    icon: "activity",
    letter: "u",
    load: () => import("./screens/activity"),
  },
  {
    name: "providers",
    title: "Providers",
    icon: "providers",
    letter: "v",
    load: () => import("./screens/providers"),
  },
  {
    name: "models",
    title: "Models",
    icon: "models",
    letter: "m",
    load: () => import("./screens/models"),
  },
  { name: "lab", title: "Lab", icon: "lab", letter: "l", load: () => import("./screens/lab") },
  {
    name: "settings",
    title: "Settings",
    icon: "settings",
    letter: "s",
    load: () => import("./screens/settings"),
  },
  {
    name: "alerts",
    title: "Alerts",
    icon: "warn",
    letter: "e",
    within: "settings",
    load: () => import("./screens/alerts"),
  },
  {
    name: "audit",
    title: "Audit",
    icon: "audit",
    letter: "a",
    within: "settings",
    load: () => import("./screens/audit"),
  },
  {
    name: "selftest",
    title: "Self-test",
    icon: "check",
    letter: "t",
    within: "settings",
    load: () => import("./screens/selftest"),
  },
];

/** The screens that have been loaded, and those that could not be. */
const screens = signal<Record<string, Screen | "failed">>({});
const paletteOpen = signal(false);
const helpOpen = signal(false);
const drawerOpen = signal(false);

/** Loads the screen of the section that is open, unless it is there. */
async function loadScreen(): Promise<void> {
  const current = SECTIONS.find(({ name }) => name === section.value);
  if (!current || typeof screens.peek()[current.name] === "function") return;
  const screen = await current.load().then(
    (module) => module.default,
    () => "failed" as const,
  );
  screens.value = { ...screens.peek(), [current.name]: screen };
}

/** The screen of a section. After a deployment its file may be gone: then the page is loaded again. */
function Outlet() {
  const current = SECTIONS.find(({ name }) => name === section.value);
  if (!current)
    return (
      <Page title="Not found">
        <Empty icon="search" title="There is no such page">
          <a href={to([])}>Open the overview</a>
        </Empty>
      </Page>
    );
  const Shown = screens.value[current.name];
  if (Shown === "failed")
    return (
      <Page title={current.title}>
        <Empty icon="warn" title="This screen could not be loaded">
          <p>The gateway cannot be reached, or a newer version has been deployed.</p>
          <button type="button" onClick={() => location.reload()}>
            Load the console again
          </button>
        </Empty>
      </Page>
    );
  if (Shown) return <Shown />;
  return (
    <Page title={current.title}>
      <Skeleton />
    </Page>
  );
}

function Rail() {
  const pending = usePending().data;
  const alerts = useAlerts().data?.data.length ?? 0;
  const shown = SECTIONS.find(({ name }) => name === section.value)?.within ?? section.value;
  return (
    <nav class={drawerOpen.value ? "rail open" : "rail"} aria-label="Screens" id="rail">
      <a class="brand" href={to([])} onClick={() => (drawerOpen.value = false)}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M2 3h4v2h3V3h6v2h3V3h4v18h-6v-6a4 4 0 0 0-8 0v6H2z" />
        </svg>
        Gatehouse
      </a>
      <ul>
        {SECTIONS.filter(({ within }) => within === undefined).map(({ name, title, icon }) => (
          <li key={name}>
            <a
              href={to(name === "overview" ? [] : [name])}
              aria-current={shown === name ? "page" : undefined}
              onClick={() => (drawerOpen.value = false)}
            >
              <Icon name={icon} />
              {title}
              {name === "requests" && pending && pending.text !== "0" && (
                <span class="n" aria-label={`${pending.text} pending`}>
                  {pending.text}
                </span>
              )}
              {name === "overview" && alerts > 0 && (
                <span class="n" aria-label={plural(alerts, "alert")}>
                  {alerts}
                </span>
              )}
            </a>
          </li>
        ))}
      </ul>
      <p class="rail-foot">
        <a href="/docs">Documentation</a>
        <a href="/health">Health</a>
      </p>
    </nav>
  );
}

const Help = () => (
  <Dialog title="Keyboard" onClose={() => (helpOpen.value = false)}>
    {() => (
      <dl class="shortcuts body">
        <div>
          <dt>
            <kbd>Ctrl</kbd> <kbd>K</kbd>
          </dt>
          <dd>Search and jump</dd>
        </div>
        {shortcuts.value.map(({ keys, does }) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").map((one) => (
                <kbd key={one}>{one}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    )}
  </Dialog>
);

function Shell() {
  useShortcuts([
    ...SECTIONS.map(({ name, title, letter }) => ({
      keys: `g ${letter}`,
      does: title,
      run: () => go(name === "overview" ? [] : [name]),
    })),
    {
      keys: "/",
      does: "Filter the list",
      run: () => document.querySelector<HTMLElement>("[data-filter]")?.focus(),
    },
    { keys: "?", does: "Show these keys", run: () => (helpOpen.value = true) },
  ]);
  useEffect(() => {
    const open = (event: KeyboardEvent) => {
      if (event.key === "Escape") drawerOpen.value = false;
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) paletteOpen.value = true;
    };
    addEventListener("keydown", open);
    return () => removeEventListener("keydown", open);
  }, []);
  useEffect(() => {
    document.querySelector("main")?.scrollTo(0, 0);
    scrollTo(0, 0);
  }, [place.value.parts.join("/")]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        Skip to the content
      </a>
      <Rail />
      {drawerOpen.value && <div class="shade" onClick={() => (drawerOpen.value = false)} />}
      <div class="right">
        <header class="bar">
          <button
            type="button"
            class="icon-only menu"
            aria-label="Menu"
            aria-expanded={drawerOpen.value}
            aria-controls="rail"
            onClick={() => (drawerOpen.value = !drawerOpen.value)}
          >
            <Icon name="menu" />
          </button>
          <button type="button" class="search" onClick={() => (paletteOpen.value = true)}>
            <Icon name="search" /> <span>Jump to a key, model, provider…</span> <kbd>Ctrl K</kbd>
          </button>
          <span class="host" title="This gateway">
            {location.host}
          </span>
          <button
            type="button"
            class={offline.value ? "live off" : live.value ? "live" : "live paused"}
            aria-pressed={!live.value}
            title={
              live.value
                ? "Data are loaded again every few seconds. Click to pause."
                : "Click to continue."
            }
            onClick={() => {
              live.value = !live.value;
              if (live.value) void reload("");
            }}
          >
            <i /> {offline.value ? "Offline" : live.value ? "Live" : "Paused"}
          </button>
          <button
            type="button"
            class="icon-only"
            aria-label={`Theme: ${theme.value}`}
            title={`Theme: ${theme.value}`}
            onClick={nextTheme}
          >
            <Icon name="theme" />
          </button>
          <button
            type="button"
            class="icon-only"
            aria-label="Sign out"
            title="Sign out"
            onClick={() => signOut()}
          >
            <Icon name="lock" />
          </button>
        </header>
        <main id="main" tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      {paletteOpen.value && (
        <Palette sections={SECTIONS} onClose={() => (paletteOpen.value = false)} />
      )}
      {helpOpen.value && <Help />}
      <Toasts />
    </>
  );
}

function explain(error: ApiError, value: string): string | null {
  if (error.status === 403)
    return "This is the key of a caller. The console needs an operator key; the page for your key is /key.";
  return unknownKey(error, value);
}

const App = () =>
  key.value === null ? (
    <SignIn
      title="Gatehouse console"
      lead="Sign in with an operator key."
      label="Operator key"
      check={(value) => call("get", "/v0/config", { key: value })}
      explain={explain}
      access
      more={
        <p class="hint">
          You have a caller’s key? <a href="/key">Open the page of your key</a>
        </p>
      }
    />
  ) : (
    <Shell />
  );

applyTheme();
restore("gatehouse.operator-key");
listen();
const root = document.getElementById("app");
/** The first screen is usually there in this time; then the page is drawn once, and not first without it. */
const WAIT_MS = 50;
let isLoading: Promise<void> | undefined;
effect(() => void (isLoading = loadScreen()));
const timeout = new Promise((resolve) => setTimeout(resolve, WAIT_MS));
void Promise.race([isLoading, timeout]).then(() => {
  if (root) render(<App />, root);
});
