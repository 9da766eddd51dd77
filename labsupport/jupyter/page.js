// The panels of a page: real controls over pictures that were drawn before. Nothing is asked for.
(() => {
  "use strict";
  const IN_TURN = 140; // milliseconds between two frames

  const made = (kind, attributes = {}, ...children) => {
    const node = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // The stored state with the wanted position of the control that was moved, if no other control
  // took it elsewhere; the others are as wanted or at their default, as many as wanted as can be.
  const nearest = ({ dials, states }, wanted, moved) => {
    let best, most = -1;
    for (const state of states) {
      const at = state[0];
      if (at[moved] !== wanted[moved] || state[3][moved] !== undefined) continue;
      if (!at.every((place, i) => place === wanted[i] || place === dials[i].default)) continue;
      const kept = at.filter((place, i) => place === wanted[i]).length;
      if (kept > most) [best, most] = [state, kept];
    }
    return best;
  };

  // Each kind of control: its nodes, and how it shows a position, or words that are none of its.
  const slider = (id, dial, move) => {
    const output = made("output", { for: id });
    const input = made("input", { id, type: "range", min: 0, max: dial.words.length - 1, step: 1 });
    input.addEventListener("input", () => move(Number(input.value)));
    const head = made("div", {}, made("label", { for: id }, dial.label), output);
    return { nodes: [head, input], show: (place, said) => {
      input.value = place;
      output.textContent = said ?? dial.words[place];
      input.setAttribute("aria-valuetext", output.textContent);
    } };
  };
  const menu = (id, dial, move) => {
    const select = made("select", { id });
    dial.words.forEach((words, value) => select.append(made("option", { value }, words)));
    const other = made("option", { value: -1, hidden: "" });
    select.addEventListener("change", () => move(Number(select.value)));
    return { nodes: [made("label", { for: id }, dial.label), select], show: (place, said) => {
      other.remove();
      if (said !== undefined) select.append(other);
      other.textContent = said ?? "";
      select.value = said === undefined ? place : -1;
    } };
  };
  const radios = (id, dial, move) => {
    const group = made("fieldset", {}, made("legend", {}, dial.label));
    const inputs = dial.words.map((words, value) => {
      const input = made("input", { type: "radio", name: id, value });
      input.addEventListener("change", () => move(value));
      group.append(made("label", {}, input, words));
      return input;
    });
    const output = made("output");
    group.append(output);
    return { nodes: [group], show: (place, said) => {
      inputs.forEach((input, i) => { input.checked = said === undefined && i === place; });
      output.textContent = said ?? "";
    } };
  };
  const check = (id, dial, move) => {
    const input = made("input", { id, type: "checkbox" });
    input.addEventListener("change", () => move(Number(input.checked)));
    return { nodes: [made("label", { for: id }, input, dial.label)], show: (place) => {
      input.checked = place === 1;
    } };
  };
  const short = ({ words }) => words.length < 4 && words.join("").length < 30;
  const kindOf = (dial) => {
    if (dial.kind === "check") return check;
    if (dial.kind === "menu") return short(dial) ? radios : menu;
    return slider;
  };

  const begin = (section) => {
    const panel = JSON.parse(document.getElementById(section.dataset.panel).textContent);
    const find = (name) => section.querySelector(`.lab-${name}`);
    const [picture, readout, note] = ["picture", "readout", "note"].map(find);
    const now = panel.dials.map((dial) => dial.start);
    let turning = 0;

    const show = (state) => {
      const [at, number, words, said] = state;
      const [width, height, shownWidth, data] = panel.pictures[number];
      at.forEach((place, i) => { now[i] = place; controls[i].show(place, said[i]); });
      const settings = panel.dials.map(({ label, words }, i) => `${label}: ${said[i] ?? words[at[i]]}`);
      picture.width = width;
      picture.height = height;
      picture.style.width = shownWidth;
      picture.src = data;
      picture.alt = `${panel.title}, with ${settings.join(", ")}. ${words}`;
      if (readout.textContent !== words) readout.textContent = words;
    };
    const move = (moved, place) => {
      const wanted = now.with ? now.with(moved, place) : Object.assign([...now], { [moved]: place });
      const found = nearest(panel, wanted, moved);
      const back = panel.dials.filter((_, i) => found[0][i] !== wanted[i]);
      const words = back.map(({ label, words, default: at }) => `${label} is back at ${words[at]}`);
      note.textContent = back.length ? `This page has not stored that combination: ${words.join(", ")}.` : "";
      show(found);
    };

    const controls = panel.dials.map((dial, i) => {
      const id = `${section.dataset.panel}-${i}`;
      return kindOf(dial)(id, dial, (place) => { stop(); move(i, place); });
    });
    const rows = controls.map(({ nodes }) => made("div", { class: "lab-dial" }, ...nodes));
    const folded = made("details", { class: "lab-more" }, made("summary", {}, "More controls"));
    panel.dials.forEach((dial, i) => (dial.folded ? folded : find("dials")).append(rows[i]));
    if (folded.childElementCount > 1) find("dials").append(folded);

    // a run plays from its beginning, or from where it stands
    const run = panel.dials.findIndex(({ kind }) => kind === "time");
    const play = made("button", { type: "button" }, "Play");
    const stop = () => {
      clearInterval(turning);
      turning = 0;
      play.textContent = "Play";
      readout.setAttribute("aria-live", "polite");
    };
    play.addEventListener("click", () => {
      if (turning) return stop();
      const last = panel.dials[run].words.length - 1;
      if (now[run] === last) move(run, 0);
      play.textContent = "Stop";
      readout.setAttribute("aria-live", "off");
      turning = setInterval(() => {
        move(run, now[run] + 1);
        if (now[run] >= last) stop();
      }, IN_TURN);
    });
    if (run >= 0) rows[run].append(play);

    const whole = made("dialog", { class: "lab-whole", "aria-label": panel.title });
    const larger = made("button", { type: "button" }, "Full size");
    const open = () => {
      whole.replaceChildren(made("img", { src: picture.src, alt: picture.alt }));
      whole.showModal();
    };
    larger.addEventListener("click", open);
    picture.addEventListener("click", open);
    whole.addEventListener("click", () => whole.close());
    find("dials").append(larger);
    section.append(whole);

    show(panel.states.find(([at]) => at.every((place, i) => place === now[i])));
    section.dataset.ready = "";
  };

  // pictures are unpacked when their panel comes near
  const watch = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watch.unobserve(target);
      begin(target);
    }
  }, { rootMargin: "800px" });
  document.querySelectorAll(".lab-answers").forEach((section) => watch.observe(section));
})();
