/** Signs a user up with an unmodified better-auth. Returns the cookies of the session. */
export async function signUpElsewhere(url: string): Promise<string> {
  const response = await fetch(`${url}/api/auth/sign-up/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: 'http://localhost:3000' },
    body: JSON.stringify({
      name: 'Ada Lovelace',
      email: 'ada@example.com',
      password: 'correct horse battery staple'
    })
  })
  if (response.status !== 200)
    throw new Error(`better-auth's sign-up answered ${response.status}: ${await response.text()}`)
  return response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';', 1)[0])
    .join('; ')
}

/** Makes oidc-provider issue an access token to the gateway itself. */
export async function issueElsewhere(url: string, authorization: string): Promise<string> {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization },
    body: new URLSearchParams({ grant_type: 'client_credentials' })
  })
  if (response.status !== 200)
    throw new Error(
      `oidc-provider's token endpoint answered ${response.status}: ${await response.text()}`
    )
  const { access_token: token } = (await response.json()) as { access_token: string }
  return token
}
