"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const tiles = [...document.querySelectorAll(".tile")];
  const inGallery = tiles.filter((tile) => tile.dataset.group === "gallery");
  const composites = new Map(tiles.map((tile) => [tile.dataset.index, tile.querySelector("img").src]));

  // The data URI of a field of a sample, or undefined.
  const pictureOf = (index, field) => {
    const sample = data.samples[index];
    if (field === "composite") return composites.get(index);
    if (field === "background") return data.backgrounds[sample.background];
    return sample.pictures[field];
  };

  // ---- the mask over a tile, in the colours of its instances, when it is pointed at or has the focus ----
  const layMask = (event) => {
    const tile = event.target.closest?.(".tile");
    const mask = tile && pictureOf(tile.dataset.index, "mask");
    const overlay = tile?.querySelector(".overlay");
    if (!mask || overlay.classList.contains("on")) return;
    const instances = pictureOf(tile.dataset.index, "instances");
    if (instances) overlay.style.backgroundImage = `url("${instances}")`;
    overlay.style.webkitMaskImage = overlay.style.maskImage = `url("${mask}")`;
    overlay.classList.add("on");
  };
  document.addEventListener("pointerover", layMask);
  document.addEventListener("focusin", layMask);

  // ---- filters ----
  const [split, cell, field, text] = ["by-split", "by-cell", "by-field", "by-text"].map(byId);
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    for (const tile of inGallery) {
      const of = tile.dataset;
      tile.hidden = (split.value && of.split !== split.value) || (cell.value && of.cell !== cell.value)
        || (wanted && !of.text.toLowerCase().includes(wanted)) || false;
      count += !tile.hidden;
    }
    byId("count").textContent = `${count.toLocaleString("en")} of ${inGallery.length.toLocaleString("en")}`;
    byId("none").hidden = count > 0;
  };
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [split, cell, text]) control.addEventListener("input", filter);
  field.addEventListener("input", () => {
    for (const tile of inGallery) {
      const image = tile.querySelector("img");
      image.src = pictureOf(tile.dataset.index, field.value) ?? composites.get(tile.dataset.index);
      image.alt = `${field.value} of sample ${tile.dataset.index}`;
    }
  });

  // ---- the closer look ----
  const viewer = byId("viewer"), slider = byId("slider"), compare = byId("compare");
  let around = [], shown = null;
  const slide = () => compare.style.setProperty("--at", `${slider.value}%`);
  const element = (name, content, into) => {
    const made = document.createElement(name);
    made.append(content);
    into.append(made);
    return made;
  };
  const show = (tile) => {
    shown = tile;
    const index = tile.dataset.index, mask = pictureOf(index, "mask");
    byId("viewer-title").textContent = `Sample ${Number(index).toLocaleString("en")}`;
    const [below, above] = [byId("below"), byId("above")];
    below.src = composites.get(index);
    below.alt = `Composite of sample ${index}`;
    above.hidden = byId("slide").hidden = !mask;
    compare.classList.toggle("split", Boolean(mask));
    if (mask) [above.src, above.alt] = [mask, `Mask of sample ${index}`];
    const fields = byId("fields"), facts = byId("facts");
    fields.replaceChildren();
    facts.replaceChildren();
    for (const name of ["background", "composite", "mask", "depth", "instances"]) {
      const uri = pictureOf(index, name);
      if (!uri) continue;
      const figure = element("figure", "", fields), image = element("img", "", figure);
      [image.src, image.alt] = [uri, `${name} of sample ${index}`];
      element("figcaption", name, figure);
    }
    for (const [label, value] of data.samples[index].facts) {
      const row = element("div", "", facts);
      element("dt", label, row);
      element("dd", value, row);
    }
    const place = around.indexOf(tile);
    byId("back").disabled = place <= 0;
    byId("next").disabled = place >= around.length - 1;
  };
  const step = (by) => {
    const tile = around[around.indexOf(shown) + by];
    if (tile) show(tile);
  };
  document.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    around = tiles.filter((one) => one.dataset.group === tile.dataset.group && !one.hidden);
    show(tile);
    viewer.showModal();
    slider.focus();
  });
  slider.addEventListener("input", slide);
  compare.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const box = compare.getBoundingClientRect();
    slider.value = 100 - ((event.clientX - box.left) / box.width) * 100;
    slide();
  });
  byId("back").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("close", () => shown?.focus());
  viewer.addEventListener("keydown", (event) => {
    if (event.target === slider) return; // its arrow keys move it
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  // ---- arrow keys among the tiles ----
  document.addEventListener("keydown", (event) => {
    const tile = event.target.closest?.(".tile");
    if (!tile || viewer.open || !event.key.startsWith("Arrow")) return;
    const row = tiles.filter((one) => one.dataset.group === tile.dataset.group && !one.hidden);
    const top = row[0].getBoundingClientRect().top;
    const across = row.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 2).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    const other = row[row.indexOf(tile) + by];
    if (!other) return;
    event.preventDefault();
    other.focus();
  });
  slide();
})();
