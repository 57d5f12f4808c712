// The card on Airflow's home page: for each pipeline the latest result, and how much is open.
// Airflow imports this file as it is; React, ChakraUI and ReactRouterDOM are there as globals.
const { createElement, useEffect, useState } = globalThis.React;
const { Box, Heading, Text } = globalThis.ChakraUI;
const { Link } = globalThis.ReactRouterDOM;
const here = new URL(".", import.meta.url);

function Pipeline({ pipeline }) {
  const open = pipeline.open ? `${pipeline.open} open` : "nothing open";
  return createElement(
    Box, { as: "li", mt: 3 },
    createElement(Text, { as: "span", fontWeight: "semibold" },
      createElement(Link, { to: `/dags/${encodeURIComponent(pipeline.dag_id)}/plugin/crm_to_meta_dag` }, pipeline.name)),
    createElement(Text, { as: "span", ml: 2, fontSize: "sm", color: pipeline.is_urgent ? "fg.error" : "fg.muted" }, open),
    createElement(Text, { fontSize: "sm" }, pipeline.text),
  );
}

function Card() {
  const [state, setState] = useState({ pipelines: null, trouble: "" });
  useEffect(() => {
    const control = new AbortController();
    fetch(new URL("../card", here), { credentials: "same-origin", signal: control.signal })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(String(answer.status)))))
      .then((body) => setState({ pipelines: body.pipelines, trouble: "" }))
      .catch((error) => {
        if (error.name !== "AbortError") setState({ pipelines: [], trouble: `It could not be loaded (${error.message}).` });
      });
    return () => control.abort();
  }, []);
  if (state.pipelines && !state.pipelines.length && !state.trouble) return null;
  return createElement(
    Box, { borderWidth: 1, borderRadius: 5, p: 4, my: 2, "data-testid": "crm-to-meta-card" },
    createElement(Heading, { size: "sm" }, createElement(Link, { to: "/plugin/crm_to_meta" }, "CRM to Meta")),
    state.trouble ? createElement(Text, { fontSize: "sm", mt: 2 }, state.trouble) : null,
    state.pipelines === null
      ? createElement(Text, { fontSize: "sm", color: "fg.muted", mt: 2 }, "Loading ...")
      : createElement(Box, { as: "ul", listStyleType: "none" },
          state.pipelines.map((pipeline) => createElement(Pipeline, { key: pipeline.dag_id, pipeline }))),
  );
}

globalThis.AirflowPlugin = Card;
globalThis["CRM to Meta card"] = Card;
