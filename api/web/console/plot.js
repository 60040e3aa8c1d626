// Pictures by uPlot, in the page's own colours.

import { html, useEffect, useRef } from "./preact.js";
import { time } from "./format.js";
import { t } from "./words.js";

const HEIGHT = 220;
const SECONDS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
const DAYS = [1, 2, 7, 14, 28, 91, 182, 364].map((days) => days * 86400);

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(more) {
  return { stroke: color("--muted"), grid: { stroke: color("--rule"), width: 1 }, ...more };
}

/**
 * Lines over time. `data`: [[unix seconds], [numbers], …], `series`: [{label, color, scale,
 * bars}], `days`: the times are days.
 */
export function Plot({ label, data, series, days = false }) {
  const place = useRef(null);
  const plot = useRef(null);
  const names = series.map((one) => one.label).join("|");
  useEffect(() => {
    const scales = [...new Set(series.map((one) => one.scale))];
    const width = () => Math.max(200, place.current.clientWidth);
    const options = {
      width: width(),
      height: HEIGHT,
      // A day of a report is the mall's, whatever it is here.
      tzDate: (at) => (days ? window.uPlot.tzDate(new Date(at * 1000), "Etc/UTC")
        : new Date(at * 1000)),
      scales: {
        x: { time: true },
        ...Object.fromEntries(scales.map((one) => [one, { range: upwards }])),
      },
      axes: [
        axis({ incrs: days ? DAYS : SECONDS, space: 80, values: (_, all) => all.map(
          (at) => (days ? said(at, days).slice(5) : said(at, days))) }),
        ...scales.map((one, n) => axis({ scale: one, side: n ? 1 : 3, size: 64,
          ...(n && { grid: { show: false } }) })),
      ],
      series: [
        {
          label: t(days ? "column.day" : "column.at"),
          value: (_, at) => (at === null ? "–" : said(at, days)),
        },
        ...series.map((one) => ({
          label: one.label,
          scale: one.scale,
          stroke: color(one.color),
          width: 2,
          fill: one.bars ? color(one.color) : undefined,
          paths: one.bars ? window.uPlot.paths.bars({ size: [0.6, 60] }) : undefined,
          points: { show: one.bars ? false : undefined },
        })),
      ],
    };
    plot.current = new window.uPlot(options, data, place.current);
    const resized = new ResizeObserver(() => {
      plot.current.setSize({ width: width(), height: HEIGHT });
    });
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      plot.current.destroy();
    };
  }, [names]);
  useEffect(() => plot.current.setData(data), [data]);
  return html`<div class="plot" role="img" aria-label=${label} ref=${place}></div>`;
}

// From 0 to a little above the greatest, whole steps where the numbers are small.
function upwards(_, __, most) {
  return [0, most > 0 ? most * 1.1 : 1];
}

function said(seconds, days) {
  const text = new Date(seconds * 1000).toISOString();
  return days ? text.slice(0, 10) : time(text).slice(11);
}
