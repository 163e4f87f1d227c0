"""Posts notices to webhooks."""

import httpx

from services.deployer.settings import Webhook


class WebhookPosts:
    """One POST at a time, to an address that the settings allow; redirects are not followed, answers not read."""

    def __init__(self, timeout_seconds: float) -> None:
        self._client = httpx.Client(timeout=timeout_seconds, follow_redirects=False)

    def post(self, webhook: Webhook, body: bytes, headers: dict[str, str]) -> tuple[bool, str]:
        """Return whether the webhook took it, and its answer in a few words."""
        try:
            with self._client.stream("POST", webhook.url, content=body, headers=headers) as answer:
                return answer.is_success, f"status {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return False, type(error).__name__

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
