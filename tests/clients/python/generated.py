"""Makes an app and a flag, has a build judged and kills the flag, with the client that was generated from /openapi.json.

Speaks to BASE_URL with TOKEN, and prints what the flag does in the end.
"""

import os
from io import BytesIO

from tidegate_client import AuthenticatedClient
from tidegate_client.api.apps import create_app
from tidegate_client.api.flags import create_flag, get_flag, set_flag_state
from tidegate_client.api.gate import check_build, get_decision
from tidegate_client.api.kills import kill_flag
from tidegate_client.models import CheckBuildBody, GateRequest, KillBody, NewApp, NewFlag, StatePatch
from tidegate_client.types import File

client = AuthenticatedClient(base_url=os.environ["BASE_URL"], token=os.environ["TOKEN"], raise_on_unexpected_status=True)


def done(answer, status):
    assert answer.status_code == status, answer.content
    return answer


done(create_app.sync_detailed(client=client, body=NewApp(key="shop", owner="ada@example.org")), 201)
made = done(create_flag.sync_detailed("shop", client=client, body=NewFlag(key="checkout"), idempotency_key="once"), 201)
assert made.parsed.environments["production"].on is False
state = StatePatch(on=True, exposure=100)
raised = set_flag_state.sync_detailed(
    "shop", "checkout", "production", client=client, body=state, if_match=made.headers["ETag"]
)
assert done(raised, 200).parsed.environments["production"].on is True
stale = set_flag_state.sync_detailed(
    "shop", "checkout", "production", client=client, body=state, if_match=made.headers["ETag"]
)
assert done(stale, 412).parsed.code == "stale", stale.parsed
report = File(payload=BytesIO(b"[]"), file_name="gitleaks.json")
asked = CheckBuildBody(request=GateRequest(artifact=f"sha256:{1:064x}"), evidence=[report])
judged = done(check_build.sync_detailed("shop", "production", client=client, body=asked), 200).parsed
assert judged.decision.verdict == "deny" and judged.decision.evidence[0].format_ == "gitleaks", judged
shown = done(get_decision.sync_detailed("shop", judged.decision.id, client=client), 200).parsed
assert shown.judgement == judged.judgement, shown
killed = done(kill_flag.sync_detailed("shop", "checkout", client=client, body=KillBody(reason="Payments fail")), 200)
assert killed.parsed.in_effect and killed.parsed.durable
flag = done(get_flag.sync_detailed("shop", "checkout", client=client), 200).parsed
print(flag.environments["production"].serving)
