"use strict";
// Shows in the legends what the curves say at the pointer. Without it, the legends say what holds for the whole run.
(() => {
  const grouped = (value, digits) => value.toLocaleString("en-US", { maximumFractionDigits: digits });
  const units = {
    rate: (value) => `${grouped(value, 3)}/s`,
    percent: (value) => `${grouped(value, 1)} %`,
    micros: (value) =>
      value < 1e3 ? `${grouped(value, 0)} µs` : value < 1e6 ? `${grouped(value / 1e3, 3)} ms` : `${grouped(value / 1e6, 6)} s`,
  };
  const two = (value) => String(value).padStart(2, "0");
  const clock = (seconds, span) => {
    if (span <= 120) return `${seconds} s`;
    const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60), two(seconds % 60)];
    return span <= 7200 ? `${minutes}:${rest}` : `${hours}:${two(minutes % 60)}:${rest}`;
  };
  const where = {
    time: (value, span) => `at ${clock(value, span)}`,
    percentile: (value) => `at ${grouped(value, 7)} %`,
    rate: (value) => `at ${grouped(value, 1)}/s`,
  };
  // The place in a rising list that is nearest to a value.
  const nearest = (list, value) => {
    let [low, high] = [0, list.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (list[middle] < value) low = middle;
      else high = middle;
    }
    return value - list[low] <= list[high] - value ? low : high;
  };

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const outputs = [...figure.querySelectorAll(".legend output")];
    const words = outputs.map((output) => output.textContent);
    const cursor = figure.querySelector(".cursor");
    const leading = data.groups.reduce((a, b) => (b.at.length > a.at.length ? b : a));
    const show = (place) => {
      const index = nearest(leading.at, place);
      let output = 0;
      for (const group of data.groups) {
        const here = group === leading ? index : nearest(group.at, leading.at[index]);
        for (const series of group.series) {
          const value = series[here];
          outputs[output++].textContent = value === null ? "–" : units[data.unit](value);
        }
      }
      outputs[output].textContent = where[data.across](leading.x[index], data.span);
      cursor.style.left = `${100 * leading.at[index]}%`;
      cursor.hidden = false;
      figure.classList.add("reading");
    };
    const hide = () => {
      outputs.forEach((output, i) => (output.textContent = words[i]));
      cursor.hidden = true;
      figure.classList.remove("reading");
    };
    return { data, figure, leading, show, hide, plot: figure.querySelector(".plot") };
  });

  for (const chart of charts) {
    // Charts over time are read together.
    const together = charts.filter((other) => other === chart || (chart.data.across === "time" && other.data.across === "time"));
    const point = (event) => {
      const box = chart.plot.getBoundingClientRect();
      const place = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      together.forEach((other) => other.show(place));
    };
    const hide = () => together.forEach((other) => other.hide());
    let step = -1;
    chart.plot.addEventListener("pointermove", point);
    chart.plot.addEventListener("pointerdown", point);
    chart.plot.addEventListener("pointerleave", hide);
    chart.plot.addEventListener("blur", hide);
    chart.plot.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step = Math.min(chart.leading.at.length - 1, Math.max(0, step + by));
      together.forEach((other) => other.show(chart.leading.at[step]));
    });
  }
})();
