// @ts-check
// Tabs: the element at the end of each group selects the remembered tab before the browser paints, so that nothing moves.
// This is no module, because it must run before the groups are read. Groups of one choice change together.

{
  const PREFIX = "gatehouse-docs-tab-";

  /** @param {string} choice */
  const remembered = (choice) => {
    try {
      return localStorage.getItem(PREFIX + choice);
    } catch {
      return null; // the browser forbids storage
    }
  };

  /** @param {string} choice @param {string} name */
  const remember = (choice, name) => {
    try {
      localStorage.setItem(PREFIX + choice, name);
    } catch {
      // The choice then holds for this page only.
    }
  };

  /** @param {Element} group */
  const buttonsOf = (group) =>
    /** @type {HTMLButtonElement[]} */ ([
      ...group.querySelectorAll(":scope > .tab-list > [role=tab]"),
    ]);

  /**
   * Selects the tab of this name, if the group has one.
   *
   * @param {Element} group
   * @param {string | null} name
   */
  const select = (group, name) => {
    const buttons = buttonsOf(group);
    if (!buttons.some((button) => button.textContent === name)) return;
    for (const button of buttons) {
      const isOn = button.textContent === name;
      button.ariaSelected = String(isOn);
      button.tabIndex = isOn ? 0 : -1;
      document
        .getElementById(button.getAttribute("aria-controls") ?? "")
        ?.classList.toggle("on", isOn);
    }
  };

  class TabSwitch extends HTMLElement {
    connectedCallback() {
      const group = this.parentElement;
      const list = group?.querySelector(":scope > .tab-list");
      if (!group || !list) return;
      const choice = group.dataset["choice"] ?? "";
      select(group, remembered(choice));

      /** @param {HTMLButtonElement} button */
      const choose = (button) => {
        const name = button.textContent ?? "";
        const before = button.getBoundingClientRect().top;
        for (const other of document.querySelectorAll(`.tabs[data-choice="${CSS.escape(choice)}"]`))
          select(other, name);
        remember(choice, name);
        // Groups above may have become taller: the button stays where it was.
        scrollBy(0, button.getBoundingClientRect().top - before);
      };
      list.addEventListener("click", ({ target }) => {
        if (target instanceof HTMLButtonElement) choose(target);
      });
      list.addEventListener("keydown", (event) => {
        const key = event instanceof KeyboardEvent ? event.key : "";
        const buttons = buttonsOf(group);
        const at = buttons.findIndex((button) => button === document.activeElement);
        const last = buttons.length - 1;
        /** @type {Record<string, number>} */
        const next = {
          ArrowLeft: at === 0 ? last : at - 1,
          ArrowRight: at === last ? 0 : at + 1,
          Home: 0,
          End: last,
        };
        const button = buttons[next[key] ?? -1];
        if (at < 0 || button === undefined) return;
        event.preventDefault();
        button.focus();
        choose(button);
      });
    }
  }
  customElements.define("tab-switch", TabSwitch);
}
