//! The self-test: the parts that the gateway depends on, and, if the operator agrees to the cost, a call to each provider.

import { useState } from "preact/hooks";
import { ApiError, call, type Schemas } from "../api";
import { duration, usd } from "../format";
import { SettingsTabs } from "../settings-tabs";
import { Badge, Empty, Failure, FormDialog, Page, Panel, Skeleton } from "../ui/basic";

type Report = Schemas["SelfTest"];

export default function SelfTest() {
  const [report, setReport] = useState<Report | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const run = async (spend: boolean) => {
    setBusy(true);
    setError(null);
    try {
      setReport(await call("post", "/v0/selftest", { body: { spend } }));
    } catch (reason) {
      setError(reason as ApiError);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Page
      title="Self-test"
      lead="Checks the database, the objects and the limits of this gateway, and its providers."
      actions={
        <>
          <button type="button" disabled={busy} onClick={() => setAsking(true)}>
            Test the providers too
          </button>
          <button type="button" class="primary" disabled={busy} onClick={() => void run(false)}>
            {busy ? "Testing…" : "Run the test"}
          </button>
        </>
      }
    >
      <SettingsTabs />
      {busy && report === null ? (
        <Skeleton />
      ) : error ? (
        <Failure error={error} retry={() => void run(false)} />
      ) : report === null ? (
        <Empty icon="check" title="Nothing has been tested yet">
          <p>
            Run it after a deployment. Without calls to providers it costs nothing and takes a
            second.
          </p>
          <button type="button" class="primary" onClick={() => void run(false)}>
            Run the test
          </button>
        </Empty>
      ) : (
        <Panel
          flush
          title={report.ok ? "All checks have succeeded" : "Some checks have failed"}
          actions={
            <span class="muted">
              {duration(report.duration_ms)}
              {report.spent_usd !== null &&
                Number(report.spent_usd) > 0 &&
                `, ${usd(Number(report.spent_usd))}`}
            </span>
          }
        >
          <table>
            <thead>
              <tr>
                <th scope="col">Check</th>
                <th scope="col">Result</th>
                <th scope="col">Finding</th>
              </tr>
            </thead>
            <tbody>
              {report.checks.map(({ name, ok, detail, fix }) => (
                <tr key={name}>
                  <th scope="row">
                    <bdi>{name}</bdi>
                  </th>
                  <td>
                    <Badge tone={ok ? "good" : "bad"}>{ok ? "Good" : "Failed"}</Badge>
                  </td>
                  <td class="wrap">
                    {detail}
                    {fix && <span class="sub wrap">To fix it: {fix}</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
      )}
      {asking && (
        <FormDialog
          title="Test the providers too"
          action="Make the calls"
          onClose={() => setAsking(false)}
          submit={() => run(true)}
        >
          <p>
            One call of a few tokens is made to each active provider. It costs a fraction of a cent
            each.
          </p>
        </FormDialog>
      )}
    </Page>
  );
}
