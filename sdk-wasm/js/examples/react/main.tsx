/** A checkout that is new for those for whom its flag is on, and the old one again the moment that the flag is killed. */
import { useState } from "react";
import { createRoot } from "react-dom/client";

import { Tidegate } from "@tidegate/sdk";
import { TidegateProvider, useFlag, useStatus, useTidegate } from "@tidegate/sdk/react";

function Checkout() {
  const isNew = useFlag("checkout", false);
  const title = useFlag("title", "Checkout");
  const client = useTidegate();
  const [paid, setPaid] = useState(0);
  const pay = () => {
    setPaid(paid + 1);
    client?.track("paid", { bad: false });
  };
  return (
    <section className={isNew ? "new" : "old"}>
      <h2>{title}</h2>
      <p id="way">{isNew ? "Pay with one click" : "Fill in the form"}</p>
      <button onClick={pay}>Pay</button> <span id="paid">{paid}</span>
    </section>
  );
}

function Note() {
  const { state } = useStatus();
  return <p id="state">{state === "live" ? "Flags are live." : `Flags are ${state}.`}</p>;
}

/** Where the server is and with which key, as whoever serves this page knows. */
const { url, key, user } = document.getElementById("root")!.dataset as Record<string, string>;

/** The app is there at once, with fallbacks if need be: flags come in a moment. */
const root = createRoot(document.getElementById("root")!);
const app = (client?: Awaited<ReturnType<typeof Tidegate.start>>) => (
  <TidegateProvider client={client}>
    <Checkout />
    <Note />
  </TidegateProvider>
);
root.render(app());
Tidegate.start({ url: url!, key: key!, context: { targetingKey: user! } }).then((client) => root.render(app(client)));
