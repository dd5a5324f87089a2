// A client as somebody would write it with the generated types: it must compile without a cast.
import type { components, paths } from "./api";

type Message = components["schemas"]["Message"];
type Put = components["schemas"]["Put"];
type Settings = components["schemas"]["Settings"];
type Reserve = components["schemas"]["Reserve"];
type Err = components["schemas"]["ErrItem"];
type Reserved =
  paths["/v1/reserve"]["post"]["responses"]["200"]["content"]["application/json"];
type Refusal =
  paths["/v1/queues/{queue}/messages"]["post"]["responses"]["429"]["content"]["application/json"];

// What has a default may be left out.
export const put: Put = { payload: "hello" };
export const settings: Settings = { num_workers: 2, backoff: { kind: "fixed" } };
export const reserve: Reserve = { queues: ["mail", { queue: "other" }] };
export const failed = (token: string): Err => ({ token });

// What is always there needs no question mark.
export function tokenOf(message: Message): string | undefined {
  const lease = message.lease;
  return lease ? lease.token : undefined;
}
export const first = (reserved: Reserved): number => reserved.messages[0]!.attempts;
export const why = (refusal: Refusal): string => refusal.error.remedy;
export const waiting = (queue: components["schemas"]["Queue"]): number =>
  queue.counts.que + queue.totals.puts + queue.waiting_reserves;
